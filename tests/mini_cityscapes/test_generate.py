"""Mini-Cityscapes: the same bytes each time, all classes, and labels that fit what is seen."""

import hashlib
import json
import shutil
from unittest.mock import DEFAULT, Mock

import numpy as np
import pytest
from drawn_streets import make_mini_cityscapes
from mmseg.datasets import CityscapesDataset
from mmseg.utils import register_all_modules
from PIL import Image

from mmseg_sr import mini_cityscapes
from mmseg_sr.errors import UserError

SMALL = {'train': 3, 'val': 3, 'size': (128, 64)}


@pytest.fixture(scope='module')
def mini(tmp_path_factory):
    root = tmp_path_factory.mktemp('mini')
    assert make_mini_cityscapes(root, **SMALL) == {'train': 3, 'val': 3}
    return root


def digests(root):
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob('*') if p.is_file()
    }


def test_same_seed_gives_the_same_bytes_and_another_seed_others(mini, tmp_path):
    make_mini_cityscapes(tmp_path / 'again', **SMALL)
    assert digests(tmp_path / 'again') == digests(mini)
    make_mini_cityscapes(tmp_path / 'other', **SMALL, seed=1)
    first, other = digests(mini), digests(tmp_path / 'other')
    images = [name for name in first if name.endswith(('leftImg8bit.png', 'polygons.json'))]
    assert len(images) == 12 and all(other[name] != first[name] for name in images)


def test_a_frame_does_not_depend_on_how_many_there_are(mini, tmp_path):
    make_mini_cityscapes(tmp_path, train=1, val=2, size=SMALL['size'])
    few = digests(tmp_path)
    del few[mini_cityscapes.MARKER]
    assert len(few) == 3 * 5 and few.items() <= digests(mini).items()


@pytest.mark.parametrize('split', ['train', 'val'])
def test_three_frames_show_all_19_classes_and_something_ignored(mini, split):
    paths = mini.glob(f'gtFine/{split}/*/*_gtFine_labelTrainIds.png')
    assert np.unique([np.asarray(Image.open(path)) for path in paths]).tolist() == [*range(19), 255]


def test_train_and_val_have_different_cities(mini):
    train, val = ({path.name for path in (mini / 'leftImg8bit' / split).iterdir()} for split in ('train', 'val'))
    assert train and val and not train & val


def test_polygons_have_the_official_keys_and_lie_about_no_size(mini):
    paths = sorted(mini.glob('gtFine/*/*/*_polygons.json'))
    assert len(paths) == 6
    for path in paths:
        annotation = json.loads(path.read_text())
        assert set(annotation) == {'imgHeight', 'imgWidth', 'objects'}
        assert (annotation['imgWidth'], annotation['imgHeight']) == SMALL['size']
        assert all(set(item) == {'label', 'polygon'} for item in annotation['objects'])


def test_what_is_seen_fits_the_labels(mini):
    """Colour jumps along the borders of the labels, more than anywhere else: shift the labels and it jumps less."""
    for stem in sorted(mini.glob('leftImg8bit/*/*/*.png')):
        image = np.asarray(Image.open(stem).convert('L'), dtype=float)
        label = mini / 'gtFine' / stem.relative_to(mini / 'leftImg8bit')
        ids = np.asarray(Image.open(str(label).replace('leftImg8bit', 'gtFine_labelIds')))
        jump = np.abs(np.diff(image, axis=1))
        border = np.diff(ids.astype(int), axis=1) != 0
        shifted = [np.roll(border, step, axis=1) for step in (-4, 4)]
        assert jump[border].mean() > 1.25 * max(jump[other].mean() for other in shifted)


def test_mmseg_reads_it(mini):
    register_all_modules(init_default_scope=True)
    places = {'img_path': 'leftImg8bit/train', 'seg_map_path': 'gtFine/train'}
    steps = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}]
    dataset = CityscapesDataset(data_root=str(mini), data_prefix=places, pipeline=steps)
    assert len(dataset) == 3
    for sample in dataset:
        assert sample['img'].shape == (64, 128, 3) and sample['gt_seg_map'].shape == (64, 128)
        assert set(np.unique(sample['gt_seg_map'])) <= {*range(19), 255}


def test_a_second_call_reuses_what_is_there_and_other_arguments_are_refused(mini):
    times = {path: path.stat().st_mtime_ns for path in mini.rglob('*.*')}
    assert len(times) == 6 * 5 + 1
    assert make_mini_cityscapes(mini, **SMALL) == {'train': 3, 'val': 3}
    with pytest.raises(UserError, match='was made with'):
        make_mini_cityscapes(mini, **SMALL, seed=5)
    assert {path: path.stat().st_mtime_ns for path in mini.rglob('*.*')} == times


def test_what_was_deleted_is_drawn_again(mini, tmp_path):
    root = shutil.copytree(mini, tmp_path / 'copy')
    shutil.rmtree(root / 'leftImg8bit/val')
    shutil.rmtree(root / 'gtFine/val')
    assert make_mini_cityscapes(root, **SMALL) == {'train': 3, 'val': 3}
    assert digests(root) == digests(mini)


def test_an_interrupted_run_is_taken_up(tmp_path, monkeypatch):
    arguments = {'train': 2, 'val': 1, 'size': (64, 64)}
    make_mini_cityscapes(tmp_path / 'whole', **arguments)
    paint = Mock(wraps=mini_cityscapes.paint, side_effect=[DEFAULT, KeyboardInterrupt])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mini_cityscapes, 'paint', paint)
        make_mini_cityscapes(tmp_path / 'cut', **arguments)
    make_mini_cityscapes(tmp_path / 'cut', **arguments)
    assert digests(tmp_path / 'cut') == digests(tmp_path / 'whole')


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / 'thesis.txt').write_text('precious')
    with pytest.raises(UserError, match='not empty'):
        make_mini_cityscapes(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'train': 0}, 'train must be 1'),
        ({'val': -1}, 'val must be 1'),
        ({'size': (16, 64)}, '64 to 4096'),
        ({'size': (64, 128)}, 'as wide as high'),
        ({'seed': -1}, 'seed must be 0'),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_made(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        make_mini_cityscapes(tmp_path / 'new', **{**SMALL, **change})
    assert not (tmp_path / 'new').exists()


def test_the_tool_answers_a_mistake_with_one_message_and_status_2(call, tmp_path):
    (tmp_path / 'file').write_text('')
    assert call('make_mini_cityscapes', tmp_path / 'file').mistake.startswith('error: cannot write to')
