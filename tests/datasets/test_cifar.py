"""An official CIFAR archive becomes images and lists, whole or not at all, and what its pickles hold is never run."""

import os
import pickle
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from tiny_cifar import NAMES, pixels, write_archive


def lists(folder) -> dict[str, list[str]]:
    return {name: (folder / f'{name}.txt').read_text().splitlines() for name in ('train', 'val', 'test', 'classes')}


@pytest.mark.parametrize('classes', [10, 100])
def test_images_and_lists_are_those_of_the_archive(classes, call, tmp_path):
    archive = write_archive(tmp_path / 'cifar.tar.gz', classes)
    counts = call('prepare_cifar', archive, '--out', 'data', '--subset').document
    assert counts == {'train': 9 * classes, 'val': classes, 'test': 2 * classes, 'classes': classes}
    found = lists(tmp_path / 'data')
    assert found['classes'] == NAMES[:classes]
    assert not {*found['train']} & {*found['val']}
    assert {*Counter(line.split()[1] for line in found['val']).values()} == {1}, 'a tenth of each class'
    truth = pixels([label for label in range(classes) for _ in range(2)]).reshape(-1, 3, 32, 32)
    for line, image in zip(found['test'], truth, strict=True):
        path, label = line.split()
        assert path.split('/')[:2] == ['test', NAMES[int(label)]]
        assert np.array_equal(np.asarray(Image.open(tmp_path / 'data' / path)), image.transpose(1, 2, 0))
    assert call('prepare_cifar', archive, '--out', 'again', '--subset').document == counts
    assert lists(tmp_path / 'again') == found, 'the same split at every time'


def test_a_link_to_a_folder_on_another_disk_is_filled(call, tmp_path):
    archive = write_archive(tmp_path / 'cifar.tar.gz', 10)
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'data').symlink_to(tmp_path / 'disk')
    assert call('prepare_cifar', archive, '--out', 'data', '--subset').document['test'] == 20
    assert (tmp_path / 'data').is_symlink() and len(lists(tmp_path / 'disk')['test']) == 20


class Hostile:
    def __reduce__(self):
        return os.mkdir, ('run',)


BROKEN = {
    'a pickle that runs': ({'test': pickle.dumps(Hostile(), protocol=2)}, 'it asks for posix.mkdir, which is not run'),
    'no pickle': ({'test': b'nothing'}, 'is damaged, or no CIFAR archive'),
    'other images': ({'test': {b'data': np.zeros((2, 9), np.uint8), b'fine_labels': [0, 1]}}, r'of shape \(2, 9\)'),
    'a label too high': ({'test': {b'data': np.zeros((2, 3072), np.uint8), b'fine_labels': [0, 100]}}, 'no class'),
    'a name that leaves': ({'meta': {b'fine_label_names': [b'../x', *map(str.encode, NAMES[1:])]}}, 'is damaged'),
}


@pytest.mark.parametrize('case', BROKEN)
def test_a_damaged_or_hostile_archive_is_one_message_and_leaves_nothing(case, call, tmp_path):
    changed, said = BROKEN[case]
    archive = write_archive(tmp_path / 'cifar.tar.gz', changed=changed)
    message = call('prepare_cifar', archive, '--out', 'data', '--subset').mistake
    assert str(archive) in message and re.search(said, message)
    assert [path.name for path in tmp_path.iterdir()] == ['cifar.tar.gz']


def test_other_mistakes_are_one_message_too(call, tmp_path):
    archive = write_archive(tmp_path / 'cifar.tar.gz')
    assert 'has 1,000 training images, and the official one 500 of each of 100 classes' in (
        call('prepare_cifar', archive, '--out', 'data').mistake
    )
    (tmp_path / 'cut.tar.gz').write_bytes(archive.read_bytes()[:5000])
    assert 'cut.tar.gz is damaged' in call('prepare_cifar', 'cut.tar.gz', '--out', 'data').mistake
    assert 'cannot read none.tar.gz: No such file' in call('prepare_cifar', 'none.tar.gz', '--out', 'data').mistake
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/mine').touch()
    assert 'full is there already' in call('prepare_cifar', archive, '--out', 'full', '--subset').mistake
    (tmp_path / 'empty').mkdir()
    here = call('prepare_cifar', archive, '--out', '.', '--subset', folder=tmp_path / 'empty').mistake
    assert '. is there already' in here, 'a folder that appears whole is not the one that one is in'
    assert not (tmp_path / 'data').exists() and (tmp_path / 'full/mine').is_file()
