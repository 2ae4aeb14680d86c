"""Preparing Cityscapes: right labels, nothing half-written, nothing redone, every bad file named."""

import json
import os
import shutil
import zipfile
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label, labels
from PIL import Image

from mmseg_sr.datasets import cityscapes
from mmseg_sr.datasets.cityscapes import make_labels, prepare
from mmseg_sr.errors import UserError

SIZE = (48, 24)  # width, height
STEMS = ('train/ulm/ulm_000000_000019', 'train/ulm/ulm_000001_000019', 'val/jena/jena_000000_000019')
OBJECTS = [
    {'label': 'sky', 'polygon': [[0, 0], [47, 0], [47, 23], [0, 23]]},
    {'label': 'road', 'polygon': [[0, 12], [47, 12], [47, 23], [0, 23]]},
    {'label': 'car', 'polygon': [[4, 10], [16, 10], [16, 18], [4, 18]]},
    {'label': 'license plate', 'polygon': [[8, 14], [10, 14], [10, 15], [8, 15]]},
    {'label': 'car', 'polygon': [[14, 9], [24, 9], [24, 16], [14, 16]]},
    {'label': 'persongroup', 'polygon': [[30, 8], [36, 8], [36, 20], [30, 20]]},
    {'label': 'ego vehicle', 'polygon': [[0, 21], [47, 21], [47, 23], [0, 23]]},
]


def image_path(root, stem):
    return root / 'leftImg8bit' / f'{stem}_leftImg8bit.png'


def gt_path(root, stem, kind='polygons.json'):
    return root / 'gtFine' / f'{stem}_gtFine_{kind}'


def add_frame(root, stem, objects=OBJECTS):
    image, polygons = image_path(root, stem), gt_path(root, stem)
    for path in (image, polygons):
        path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(stem)).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(image)
    polygons.write_text(json.dumps({'imgWidth': SIZE[0], 'imgHeight': SIZE[1], 'objects': objects}))


@pytest.fixture
def root(tmp_path):
    for stem in STEMS:
        add_frame(tmp_path / 'city', stem)
    return tmp_path / 'city'


def zip_up(root, path, folder):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('README', 'as in the official archives')
        for file in sorted((root / folder).rglob('*.*')):
            archive.write(file, file.relative_to(root))
    return path


def zips(root, tmp_path):
    return [zip_up(root, tmp_path / f'{each}_trainvaltest.zip', each) for each in ('leftImg8bit', 'gtFine')]


def listing(root):
    states = {path.relative_to(root): path.stat() for path in root.rglob('*') if path.is_file()}
    return {path: (state.st_ino, state.st_mtime_ns) for path, state in states.items()}


def contents(root):
    return {path: (root / path).read_bytes() for path in listing(root)}


def read(path):
    return np.asarray(Image.open(path))


def expected_train_ids():
    """The objects drawn by slicing, with train ids looked up by hand: sky 10, road 0, car 13, person 11."""
    ids = np.full(SIZE[::-1], 10)
    ids[12:] = 0
    ids[10:19, 4:17] = 13
    ids[9:17, 14:25] = 13
    ids[8:21, 30:37] = 11
    ids[21:] = 255
    return ids


def test_labels_equal_a_drawing_by_hand_and_instances_are_numbered_but_groups_are_not(root):
    assert prepare([root], root, subset=True) == {'train': 2, 'val': 1}
    table = np.vectorize(lambda number: id2label[number].trainId)
    for stem in STEMS:
        np.testing.assert_array_equal(read(gt_path(root, stem, 'labelTrainIds.png')), expected_train_ids())
        np.testing.assert_array_equal(table(read(gt_path(root, stem, 'labelIds.png'))), expected_train_ids())
    instances = read(gt_path(root, STEMS[0], 'instanceIds.png'))
    assert np.unique(instances).tolist() == [1, 7, 23, 24, 26000, 26001]
    assert instances[14, 9] == 26000  # under the license plate, which is not drawn
    assert instances[10, 20] == 26001


def test_zip_files_a_folder_two_folders_and_several_jobs_give_the_same(root, tmp_path):
    before, archives = listing(root), zips(root, tmp_path)
    ways = {'zip': (archives, 1), 'folder': ([root], 1), 'jobs': ([root], 2)}
    for name, (sources, jobs) in ways.items():
        assert prepare(sources, tmp_path / name, subset=True, jobs=jobs) == {'train': 2, 'val': 1}
    assert listing(root) == before, 'another folder stays untouched'
    assert len(contents(tmp_path / 'zip')) == 5 * len(STEMS)
    (tmp_path / 'labels').mkdir()
    (root / 'gtFine').rename(tmp_path / 'labels/gtFine')
    prepare([root, tmp_path / 'labels'], tmp_path / 'two folders', subset=True)
    for name in ('folder', 'jobs', 'two folders'):
        assert contents(tmp_path / name) == contents(tmp_path / 'zip'), name


def test_label_ids_alone_go_through_the_official_table(root):
    expected = {label.id: label.trainId for label in labels if label.id >= 0} | {255: 255}
    ids = np.resize(np.array(list(expected), dtype=np.uint8), SIZE[::-1])
    for stem in STEMS:
        gt_path(root, stem).unlink()
        Image.fromarray(ids).save(gt_path(root, stem, 'labelIds.png'))
    assert prepare([root], root, subset=True) == {'train': 2, 'val': 1}
    found = read(gt_path(root, STEMS[0], 'labelTrainIds.png'))
    np.testing.assert_array_equal(found, np.vectorize(expected.get)(ids))


def test_a_void_test_split_is_accepted(root):
    frame = [[0, 0], [47, 0], [47, 23], [0, 23]]
    add_frame(root, 'test/bonn/bonn_000000_000019', [{'label': 'out of roi', 'polygon': frame}])
    assert prepare([root], root, subset=True) == {'train': 2, 'val': 1, 'test': 1}
    assert (read(gt_path(root, 'test/bonn/bonn_000000_000019', 'labelTrainIds.png')) == 255).all()


@pytest.mark.parametrize('kind', ['zip', 'linked', 'copied', 'in place'])
def test_a_second_run_touches_nothing(root, tmp_path, kind, monkeypatch):
    if kind == 'copied':  # as from another disk
        monkeypatch.setattr(os, 'link', Mock(side_effect=OSError))
    sources = zips(root, tmp_path) if kind == 'zip' else [root]
    out = root if kind == 'in place' else tmp_path / 'out'
    prepare(sources, out, subset=True)
    before = listing(out)
    assert len(before) == 5 * len(STEMS)
    prepare(sources, out, subset=True)
    assert listing(out) == before


def test_only_what_is_missing_or_broken_is_made_again(root, tmp_path):
    sources, out = zips(root, tmp_path), tmp_path / 'out'
    prepare(sources, out, subset=True)
    gone, cut = gt_path(out, STEMS[0], 'labelTrainIds.png'), gt_path(out, STEMS[1], 'labelIds.png')
    foreign, photo = gt_path(out, STEMS[2], 'labelTrainIds.png'), image_path(out, STEMS[2])
    before = listing(out)
    whole = {path: path.read_bytes() for path in (gone, cut, foreign, photo)}
    gone.unlink()
    cut.write_bytes(whole[cut][:-20])
    Image.fromarray(np.full(SIZE[::-1], 33, dtype=np.uint8)).save(foreign)  # official ids, not train ids
    photo.write_bytes(whole[photo][:100] + bytes(len(whole[photo]) - 100))
    prepare(sources, out, subset=True)
    assert {path: path.read_bytes() for path in whole} == whole
    changed = {out / path for path, state in listing(out).items() if before[path] != state}
    assert changed == set(whole)


def test_a_kill_while_writing_leaves_no_label_and_what_it_leaves_is_no_frame(root, monkeypatch):
    def write_half(image, target):
        target.write_bytes(b'\x89PNG half')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, 'save', write_half)
        make_labels(gt_path(root, STEMS[0]))
    assert [path.name for path in gt_path(root, STEMS[0]).parent.glob('ulm_000000*')] == [gt_path(root, STEMS[0]).name]
    assert len(make_labels(gt_path(root, STEMS[0]))) == 3

    image_path(root, STEMS[0]).with_name('.ulm_000009_000019_leftImg8bit.png').write_bytes(b'half')
    assert prepare([root], root, subset=True) == {'train': 2, 'val': 1}, 'remains are no frames'


def test_without_subset_other_than_the_official_counts_are_an_error_that_gives_them(root, monkeypatch):
    with pytest.raises(UserError, match='--subset') as error:
        prepare([root], root)
    for split, found, wanted in (('train', 2, 2975), ('val', 1, 500), ('test', 0, 1525)):
        assert f'{split}: {found} images, {found} annotations, expected {wanted} each' in str(error.value)
    monkeypatch.setattr(cityscapes, 'OFFICIAL_COUNTS', {'train': 2, 'val': 1})
    assert prepare([root], root) == {'train': 2, 'val': 1}


def test_every_bad_file_is_named_at_once_and_the_others_are_done(root):
    stems = [f'train/ulm/ulm_{number:06d}_000019' for number in range(10, 18)]
    for stem in stems:
        add_frame(root, stem)
    image_path(root, stems[0]).unlink()
    gt_path(root, stems[1]).unlink()
    image_path(root, stems[2]).write_bytes(image_path(root, stems[2]).read_bytes()[:-30])
    gt_path(root, stems[3]).write_text('{"imgWidth": 48, ')
    add_frame(root, stems[4], [{'label': 'spaceship', 'polygon': [[0, 0], [1, 0], [1, 1]]}])
    add_frame(root, stems[5], [{'label': 'car', 'polygon': [[0, 0]]}])
    Image.new('RGB', (8, 8)).save(image_path(root, stems[6]))
    gt_path(root, stems[7]).write_text('[]')
    with pytest.raises(UserError) as error:
        prepare([root], root, subset=True)
    lines = str(error.value).splitlines()
    assert lines[0] == '8 missing or unreadable:'
    reasons = ['missing image', 'missing annotation', 'unreadable image', 'broken JSON', "label name 'spaceship'"]
    reasons += ['cannot be drawn', '48x24 pixels, its image has 8x8', 'no Cityscapes annotation']
    for stem, reason in zip(stems, reasons, strict=True):
        assert [reason in line for line in lines if Path(stem).name in line] == [True]
    assert all(gt_path(root, stem, 'labelTrainIds.png').exists() for stem in STEMS)


@pytest.mark.parametrize(
    ('ids', 'message'),
    [
        (np.full(SIZE[::-1], 77, dtype=np.uint8), 'unknown label id 77'),
        (np.full(SIZE[::-1], 7, dtype=np.uint16), 'one byte a pixel'),
        (np.full((4, 4), 7, dtype=np.uint8), '4x4 pixels'),
    ],
)
def test_label_ids_that_are_none_are_named(root, ids, message):
    gt_path(root, STEMS[0]).unlink()
    Image.fromarray(ids).save(gt_path(root, STEMS[0], 'labelIds.png'))
    with pytest.raises(UserError, match=f'ulm_000000_000019_gtFine_labelIds.png: .*{message}'):
        prepare([root], root, subset=True)


@pytest.mark.parametrize(
    ('sources', 'message'),
    [
        (['leftImg8bit_trainvaltest.zip'], 'Give gtFine_trainvaltest.zip too'),
        (['gtFine_trainvaltest.zip'], 'Give leftImg8bit_trainvaltest.zip too'),
        (['leftImg8bit_trainvaltest.zip', 'copy.zip'], 'occurs twice, in .* as well'),
        (['nowhere'], 'no such file'),
        (['empty'], 'holds neither'),
        (['login.zip'], 'not a zip'),
        (['other.zip'], 'holds neither'),
    ],
)
def test_unfit_sources_are_refused(root, tmp_path, sources, message):
    shutil.copy(zips(root, tmp_path)[0], tmp_path / 'copy.zip')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'login.zip').write_text('<html>please log in</html>')
    zip_up(root, tmp_path / 'other.zip', 'nothing')
    with pytest.raises(UserError, match=message):
        prepare([tmp_path / source for source in sources], tmp_path / 'out', subset=True)
    assert message.startswith('Give') or not (tmp_path / 'out').exists()


def test_a_truncated_or_damaged_zip_is_refused(root, tmp_path):
    whole = zips(root, tmp_path)[0]
    data = bytearray(whole.read_bytes())
    whole.write_bytes(data[:-40])
    with pytest.raises(UserError, match='not a zip file, or its download was cut short'):
        prepare([whole], tmp_path / 'out', subset=True)
    start = data.index(b'IDAT')
    data[start : start + 60] = bytes(60)
    whole.write_bytes(data)
    with pytest.raises(UserError, match='member .* is damaged'):
        prepare([whole], tmp_path / 'out', subset=True)
    assert not [path for path in (tmp_path / 'out').rglob('*') if path.is_file()]


def test_what_does_not_fit_on_the_disk_is_refused_before_anything_is_written(root, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(1 << 20, 1 << 20, 1 << 10))
    with pytest.raises(UserError, match='GB are free'):
        prepare(zips(root, tmp_path), tmp_path / 'out', subset=True)
    assert not (tmp_path / 'out').exists()


def test_the_tool_prepares_and_ends_with_a_json_line(root, call):
    assert call('prepare_cityscapes', 'city', '--subset').document == {'train': 2, 'val': 1}


@pytest.mark.parametrize(('word', 'message'), [('city', 'expected 2975 each'), ('a.zip', '--out DIR')])
def test_the_tool_answers_a_mistake_with_one_message_and_status_2(root, call, word, message):
    done = call('prepare_cityscapes', word)
    assert done.mistake and message in done.err
