"""Bad data are found before a training, and a training that meets them names the file."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import ROOT, Done, call
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset
from mmseg.datasets import BaseSegDataset
from picture_files import claims
from PIL import Image
from tiny_config import CLASSES, write_config, write_images
from tiny_report import write_checkpoint

from mmseg_sr.datasets.build import build_datasets, check_files, check_pictures, load_split
from mmseg_sr.datasets.check import check
from mmseg_sr.datasets.loading import check_loads, loaders
from mmseg_sr.datasets.look import KINDS, look
from mmseg_sr.errors import UserError

SPLITS = """
import copy
dataset['pipeline'] = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='RandomCrop', crop_size=(16, 16)),
    dict(type='PackSegInputs'),
]
train_dataloader['dataset'] = dict(type='RepeatDataset', dataset=dataset, times=3)
val_dataloader['dataset'] = dict(dataset, data_root={val!r}, pipeline=pipeline)
test_dataloader = copy.deepcopy(val_dataloader)
"""


def write_splits(folder: Path, count: int = 5) -> Path:
    """A config whose train data are in ``data`` and whose val and test data are the images of ``val``."""
    write_images(folder / 'data', count)
    write_images(folder / 'val', 2, size=32)
    return write_config(folder, extra=SPLITS.format(val=str(folder / 'val')))


def found(done: Done) -> set[tuple[str, str, str]]:
    """(split, kind, name of the file) of all problems, which end the tool with status 1."""
    assert done.status == 1, done.err
    document = json.loads(done.out.splitlines()[-1])
    splits = document['splits'].items()
    problems = [(name, each['kind'], Path(each['file']).name) for name, split in splits for each in split['problems']]
    assert document['problems'] == len(problems) == len(set(problems))
    return set(problems)


def labels_in(folder: Path) -> np.ndarray:
    return np.concatenate([np.array(Image.open(path)).ravel() for path in folder.glob('ann/*')])


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def relabel(path: Path, change) -> None:
    """Write a label map anew, as ``change`` makes it."""
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def test_of_good_data_it_counts_the_pixels(tmp_path):
    config = write_splits(tmp_path)
    done = call('check_dataset', config, '--out', tmp_path / 'out/all.json', folder=tmp_path)
    report = done.document
    assert report == json.loads((tmp_path / 'out/all.json').read_text())
    assert (report['problems'], list(report['splits'])) == (0, ['train', 'val+test'])
    for name, place, images in (('train', 'data', 5), ('val+test', 'val', 2)):
        raw = labels_in(tmp_path / place)
        assert report['splits'][name]['pixels'] == {each: (raw == index).sum() for index, each in enumerate(CLASSES)}
        assert report['splits'][name]['images'] == images
    assert '| train | 5 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |' in ' '.join(done.out.split())


def test_it_finds_every_kind_of_problem(tmp_path):
    config = write_splits(tmp_path, 13)
    images, labels = tmp_path / 'data/img', tmp_path / 'data/ann'
    (labels / '0.png').unlink()
    (images / '1.png').unlink()  # a label map without an image
    cut(images / '2.png')
    (images / '3.png').write_bytes(b'')
    cut(labels / '4.png')
    relabel(labels / '5.png', lambda ids: ids[:-1])
    relabel(labels / '6.png', lambda ids: ids.T[:, :-1])
    relabel(labels / '7.png', lambda ids: np.stack([ids] * 3, -1))
    relabel(labels / '8.png', lambda ids: np.where(ids == 1, 4, ids).astype(np.uint8))
    relabel(labels / '9.png', lambda ids: ids.astype(np.uint16) + 256)  # one byte of each is a class
    relabel(labels / '10.png', lambda ids: np.full_like(ids, 255))
    (tmp_path / 'val/img/1.png').write_bytes((images / '11.png').read_bytes())
    train = ['missing'] * 2 + ['unreadable'] * 3 + ['wrong size'] * 2 + ['channels'] + ['label ids'] * 2 + ['all void']
    expected = {('train', kind, f'{index}.png') for index, kind in enumerate(train)}
    expected |= {('val+test', 'duplicate', '1.png'), ('val+test', 'wrong size', '1.png')}
    assert {kind for _, kind, _ in expected} == set(KINDS)
    done = call('check_dataset', config, '--workers', 1, folder=tmp_path)
    assert found(done) == expected
    assert 'label ids 4, and the classes are 0 to 3 (255: void)' in done.out
    assert '63x64 pixels, its image has 64x64' in done.out
    together = call('check_dataset', config, '--workers', 4, folder=tmp_path)
    assert (together.status, together.out.splitlines()[-1]) == (1, done.out.splitlines()[-1])


def test_images_that_the_network_cannot_take_are_found(tmp_path):
    config = write_splits(tmp_path)
    done = call('check_dataset', config, '--cfg-options', 'model.backbone.in_channels=4', folder=tmp_path)
    train = {each for each in found(done) if each[0] == 'train'}
    assert train == {('train', 'channels', f'{index}.png') for index in range(5)}
    assert '3 channels, the network takes 4' in done.out


def test_what_is_no_problem_but_should_be_known_is_said(tmp_path):
    config = write_splits(tmp_path)
    known = ['train: no pixel of train', 'val+test: no pixel of train']
    assert call('check_dataset', config, folder=tmp_path).document['notes'] == known
    for count, words in ((6, 'it never sees the others'), (3, 'label 3 is too high for it')):
        option = f'model.decode_head.num_classes={count}'
        done = call('check_dataset', config, '--cfg-options', option, 'model.auxiliary_head=None', folder=tmp_path)
        assert done.document['notes'][0] == f'model.decode_head has {count} classes and the data 4: {words}'
        assert all(note in done.out.splitlines() for note in done.document['notes'])
    assert 'train: no pixel of train, class 4, class 5' not in done.document['notes'], 'three classes'


def test_labels_beyond_a_head_that_only_trains_are_found(tmp_path):
    config = write_splits(tmp_path)
    done = call('check_dataset', config, '--cfg-options', 'model.auxiliary_head.0.num_classes=2', folder=tmp_path)
    assert found(done) == {('train', 'label ids', f'{index}.png') for index in range(5)}
    assert 'model.auxiliary_head has 2 classes and the data 4' in done.out


@pytest.mark.parametrize('place', ['data/cityscapes', 'elsewhere'])
def test_where_there_are_no_data_it_says_what_makes_them(tmp_path, monkeypatch, place):
    monkeypatch.delenv('CITYSCAPES_ROOT', raising=False)
    if place == 'elsewhere':
        monkeypatch.setenv('CITYSCAPES_ROOT', place)
    config = tmp_path / 'data.py'
    config.write_text(f"_base_ = '{ROOT}/configs/_base_/datasets/cityscapes.py'\ndefault_scope = 'mmseg'\n")
    said = call('check_dataset', config, folder=tmp_path).mistake
    assert place in said and 'tools/prepare_cityscapes.py' in said and ', CITYSCAPES_ROOT says where' in said


def test_training_on_what_is_tested_is_found(tmp_path):
    config = write_config(tmp_path)  # train, val and test read the same files
    done = call('check_dataset', config, folder=tmp_path)
    assert found(done) == {('val+test', 'duplicate', f'{index}.png') for index in range(5)}


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['none.py'], 'no such config: none.py'),
        (['{config}', '--cfg-options', 'dataset'], 'takes key=value'),
        (['{config}', '--cfg-options', 'val_dataloader.dataset.data_root=void'], 'void/img'),
        (['{config}', '--cfg-options', 'val_dataloader.dataset.img_suffix=.tif'], 'val_dataloader has no images'),
        (['empty.py'], 'has no train_dataloader'),
    ],
)
def test_a_mistake_is_one_message(tmp_path, arguments, words):
    config = write_splits(tmp_path)
    (tmp_path / 'empty.py').write_text('')
    done = call('check_dataset', *(each.format(config=config) for each in arguments), folder=tmp_path)
    assert words in done.mistake and not done.out.strip().startswith('{')


class Streets(BaseSegDataset):
    METAINFO = dict(classes=('road', 'car', 'tree', 'train'), palette=[[0]] * 4)


def build(folder: Path, kind=BaseSegDataset, steps=('LoadImageFromFile', 'LoadAnnotations'), **options):
    pipeline = [dict(type=f'mmseg.{step}') for step in steps]
    prefix = dict(img_path='img', seg_map_path='ann')
    return kind(data_root=str(folder), data_prefix=prefix, img_suffix='.png', pipeline=pipeline, **options)


def kinds(datasets: dict, classes: int | None = None) -> list[str]:
    splits = check(datasets, classes, ignored=255, channels=3)
    return [problem.kind for split in splits.values() for problem in split.problems]


def test_labels_are_those_that_mmseg_makes_of_the_files(tmp_path):
    write_images(tmp_path / 'a', 2)  # ids 0, 1, 2 and 255
    two = build(tmp_path / 'a', Streets, metainfo=dict(classes=('tree', 'road')))
    split = check({'train': two}, None, 255, 3)['train']
    assert not split.problems
    raw = labels_in(tmp_path / 'a')
    counts = {0: (raw == 2).sum(), 1: (raw == 0).sum(), 255: ((raw == 1) | (raw == 255)).sum()}
    assert {index: count for index, count in split.counts.items() if count} == counts

    classes = dict(classes=('road', 'car'))
    for names in (classes['classes'], np.array(classes['classes'])):
        assert kinds({'train': build(tmp_path / 'a', metainfo=dict(classes=names))}) == ['label ids'] * 2
    shifted = build(tmp_path / 'a', metainfo=classes, reduce_zero_label=True)
    assert kinds({'train': shifted}) == []
    assert kinds({'train': shifted}, classes=1) == ['label ids'] * 2, "the model's classes are what counts"


def test_any_wrapping_and_any_list_of_files_is_looked_at_once(tmp_path):
    write_images(tmp_path / 'a', 3)
    write_images(tmp_path / 'b', 3, size=32)
    (tmp_path / 'a/list.txt').write_text('0\n2\n7\n')
    listed = build(tmp_path / 'a', Streets, ann_file='list.txt')
    plain = build(tmp_path / 'b', Streets)
    split = check({'train': ConcatDataset([plain, listed, plain])}, None, 255, 3)['train']
    assert len(split.pairs) == 6
    problems = [(each.kind, *Path(each.file).parts[-2:]) for each in split.problems]
    assert problems == [('missing', 'img', '7.png'), ('missing', 'ann', '7.png')], 'not those that are not listed'


def test_labels_that_are_not_loaded_are_not_looked_at(tmp_path):
    write_images(tmp_path / 'a', 2)
    shutil.rmtree(tmp_path / 'a/ann')
    assert kinds({'test': build(tmp_path / 'a', Streets, steps=['LoadImageFromFile'])}) == []
    assert kinds({'test': build(tmp_path / 'a', Streets)}) == ['missing'] * 2


def test_a_split_is_loaded_without_augmentation(tmp_path):
    cfg = Config.fromfile(write_splits(tmp_path))
    split = load_split(cfg, 'train')
    assert len(split) == 3 * 5 and split[0]['inputs'].shape == (3, 64, 64), 'not the crop of the training pipeline'
    assert build_datasets(cfg)['train'][0]['inputs'].shape == (3, 16, 16), 'the config stays as it is'


def test_a_dataset_of_something_else_is_refused():
    with pytest.raises(UserError, match='list is no dataset of images'):
        check({'train': [1, 2]}, None, 255, 3)


class Arrays(BaseDataset):
    """Images without files, as of mmpretrain's CIFAR10."""

    def load_data_list(self) -> list[dict]:
        return [dict(img=np.zeros((32, 32, 3), np.uint8), gt_label=0)]


def test_images_without_files_are_trained_on_and_not_drawn():
    check_files('train_dataloader', Arrays())
    with pytest.raises(UserError, match='Arrays is no dataset of images'):
        check_pictures(Arrays())


def test_monsters_are_refused_before_they_are_read(tmp_path):
    write_images(tmp_path / 'a', 1)
    image, labels = (loader[0] for loader in loaders(build(tmp_path / 'a').pipeline))

    def says(name: str) -> str:
        (problem,) = look({'img_path': str(tmp_path / name)}, image, None, 3, 255, 3).problems
        assert problem.kind == 'unreadable'
        return problem.what

    (tmp_path / 'bomb.png').write_bytes(claims(10**5, 10**5))
    assert 'decompression bomb' in says('bomb.png')
    os.mkfifo(tmp_path / 'pipe.png')
    assert says('pipe.png') == 'it is no file'
    with (tmp_path / 'huge.png').open('wb') as file:
        file.truncate(2**40)  # takes no room on the disk
    assert 'too large' in says('huge.png')


DAMAGE = {
    'image cut, in a data worker': (1, 'img', cut, 'cannot read the image'),
    'label cut': (0, 'ann', cut, 'OSError: image file is truncated'),
    'label size': (0, 'ann', lambda path: relabel(path, lambda ids: np.pad(ids, 8)), '80x80 pixels, its image has'),
    'label ids, in a data worker': (1, 'ann', lambda path: relabel(path, lambda ids: ids * 0 + 4), 'label ids 4, and'),
    'label colours': (0, 'ann', lambda path: relabel(path, lambda ids: np.stack([ids] * 3, -1)), '3 channels'),
}


@pytest.mark.parametrize(('workers', 'place', 'damage', 'words'), DAMAGE.values(), ids=DAMAGE)
def test_a_training_names_the_file(tmp_path, workers, place, damage, words):
    config = write_config(tmp_path)
    bad = tmp_path / 'data' / place / '3.png'
    damage(bad)
    said = call('train', config, '--cfg-options', f'train_dataloader.num_workers={workers}', folder=tmp_path).mistake
    assert str(bad) in said and words in said


def test_a_missing_file_is_named_before_anything_is_written(tmp_path):
    config = write_config(tmp_path)
    for index in range(1, 5):
        (tmp_path / f'data/ann/{index}.png').unlink()
    said = call('train', config, folder=tmp_path).mistake
    assert f'error: 4 files of train_dataloader are not there: {tmp_path}/data/ann/1.png, ' in said
    assert '4.png' not in said and 'tools/check_dataset.py CONFIG' in said
    assert not (tmp_path / 'work').exists()


def test_a_test_names_the_file_too(tmp_path):
    config = write_config(tmp_path)
    write_checkpoint(config, tmp_path / 'random.pth')
    relabel(tmp_path / 'data/ann/4.png', lambda ids: ids[:32])
    for more in ([], ['--tta']):
        said = call('test', config, tmp_path / 'random.pth', *more, folder=tmp_path).mistake
        assert f'error: {tmp_path}/data/ann/4.png: 64x32 pixels, its image has 64x64' in said


def test_looking_changes_nothing_that_is_loaded(tmp_path):
    datasets = build_datasets(Config.fromfile(write_config(tmp_path)))
    plain, guarded = datasets['val'], datasets['test']
    for _ in range(2):
        check_loads(guarded.pipeline, 4, 255)
    ours, theirs = guarded[2], plain[2]
    assert np.array_equal(ours['inputs'], theirs['inputs'])
    assert np.array_equal(ours['data_samples'].gt_sem_seg.data, theirs['data_samples'].gt_sem_seg.data)
    assert repr(guarded.pipeline) == repr(plain.pipeline)
