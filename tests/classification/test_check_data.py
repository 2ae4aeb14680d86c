"""What is wrong with the images of a classifier, and with their labels, is found before a training."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import ROOT, Done, call
from PIL import Image
from tiny_cifar import NAMES
from tiny_classifier import write_images

pytest.importorskip('mmpretrain', reason='classifiers need the extra [classification]')

CIFAR = ROOT / 'configs/classification/resnet18_1xb128-64k_cifar10.py'
IMAGENET = ROOT / 'configs/classification/resnet50_4xb32-4504k_imagenet.py'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    data = write_images(tmp_path_factory.mktemp('made'))
    generator = np.random.default_rng(0)
    for path in data.rglob('*.png'):  # no two alike
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return data


@pytest.fixture
def data(made, tmp_path, monkeypatch):
    """A copy of CIFAR-10's folder, to be spoilt."""
    monkeypatch.setenv('CIFAR10_ROOT', str(tmp_path / 'data'))
    return shutil.copytree(made, tmp_path / 'data')


def check(*words: object, folder: Path) -> Done:
    return call('check_dataset', *words, folder=folder)


def found(done: Done) -> set[tuple[str, str, str]]:
    """(split, kind, name of the file) of all problems, which end the tool with status 1."""
    assert done.status == 1, done.err
    splits = json.loads(done.out.splitlines()[-1])['splits'].items()
    return {(name, each['kind'], Path(each['file']).name) for name, split in splits for each in split['problems']}


def test_of_good_data_it_counts_the_images_of_each_class(data, tmp_path):
    done = check(CIFAR, folder=tmp_path)
    report = done.document
    assert (report['problems'], report['notes'], list(report['splits'])) == (0, [], ['train', 'val', 'test'])
    for name, count in (('train', 18), ('val', 2), ('test', 4)):
        split = report['splits'][name]
        assert (split['images'], split['labels']) == (10 * count, dict.fromkeys(NAMES[:10], count))
    assert '| kind_3 | 18 | 2 | 4 |' in ' '.join(done.out.split()) and '0 problems in 240 images' in done.err


def spoil(data: Path) -> dict[str, str]:
    """Break images of the test and labels of the training, and name the images by the kind."""
    test = sorted((data / 'test').rglob('*.png'))
    kinds = ('missing', 'unreadable', 'wrong size', 'duplicate')
    missing, unreadable, wrong_size, duplicate = test[:4]
    missing.unlink()
    os.truncate(unreadable, 70)
    Image.new('RGB', (40, 32)).save(wrong_size)
    lines = (data / 'train.txt').read_text().splitlines()
    shutil.copy(data / lines[0].split()[0], duplicate)
    lines[1:3] = [f'{line.split()[0]} {label}' for line, label in zip(lines[1:3], (10, -1), strict=True)]
    (data / 'train.txt').write_text('\n'.join(lines) + '\n')
    labels = {f'label ids {index}': Path(line.split()[0]).name for index, line in enumerate(lines[1:3])}
    return dict(zip(kinds, (path.name for path in test), strict=False)) | labels


def test_it_finds_every_kind_of_problem(data, tmp_path):
    spoilt = spoil(data)
    done = check(CIFAR, '--workers', 3, folder=tmp_path)
    places = {(kind.rstrip(' 01'), 'train' if 'label' in kind else 'test', name) for kind, name in spoilt.items()}
    assert found(done) == {(split, kind, name) for kind, split, name in places}
    assert 'label 10, and the classes are 0 to 9' in done.out and 'label -1, and the classes' in done.out
    assert '40x32 pixels, most have 32x32, and nothing makes them one size' in done.out
    assert f'the same image as {data}/train/kind_0/' in done.out


def test_sizes_are_no_problem_where_the_pipeline_makes_them_one(data, tmp_path):
    Image.new('RGB', (40, 36)).save(next((data / 'train').rglob('*.png')))
    assert check(CIFAR, folder=tmp_path).status == 0, 'a training crops 32x32'
    image = next((data / 'test').rglob('*.png'))
    Image.new('RGB', (40, 36), 'red').save(image)
    assert found(check(CIFAR, folder=tmp_path)) == {('test', 'wrong size', image.name)}
    steps = "[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]"
    resized = tmp_path / 'resized.py'
    resized.write_text(f"_base_ = '{CIFAR}'\ntest_dataloader = dict(dataset=dict(pipeline={steps}))\n")
    assert check(resized, folder=tmp_path).status == 0


def test_what_is_no_problem_but_should_be_known_is_said(data, tmp_path):
    lines = (data / 'train.txt').read_text().splitlines()
    (data / 'train.txt').write_text('\n'.join(line for line in lines if not line.endswith(' 4')) + '\n')
    (data / 'classes.txt').write_text('\n'.join(['cat', 'cat', *NAMES[2:10]]) + '\n')
    done = check(CIFAR, '--cfg-options', 'model.head.num_classes=12', folder=tmp_path)
    assert done.document['notes'] == [
        'several classes are called cat',
        'model.head has 12 classes and the data 10: it never sees the others',
        'train: no image of kind_4, class 10, class 11',
        'val: no image of class 10, class 11',
        'test: no image of class 10, class 11',
    ]
    assert done.document['splits']['val']['labels']['cat (1)'] == 2
    fewer = check(CIFAR, '--cfg-options', 'model.head.num_classes=9', folder=tmp_path)
    assert {kind for _, kind, _ in found(fewer)} == {'label ids'}
    grey = check(CIFAR, '--cfg-options', 'model.backbone.backbone.in_channels=1', folder=tmp_path)
    assert {kind for _, kind, _ in found(grey)} == {'channels'}


def test_the_lists_of_imagenet_are_checked(tmp_path, monkeypatch):
    monkeypatch.setenv('IMAGENET_ROOT', str(tmp_path))
    for split, label in (('train', 134), ('val', 999)):
        (tmp_path / split).mkdir()
        Image.new('RGB', (50 + label, 60)).save(tmp_path / split / 'a.JPEG')
        Image.new('RGB', (70, 60 + label)).save(tmp_path / split / 'b.JPEG')
        (tmp_path / 'meta').mkdir(exist_ok=True)
        (tmp_path / f'meta/{split}.txt').write_text(f'a.JPEG {label}\nb.JPEG {label + 1}\n')
    done = check(IMAGENET, folder=tmp_path)
    assert found(done) == {('val+test', 'label ids', 'b.JPEG')}, 'any size will do'
    report = json.loads(done.out.splitlines()[-1])
    assert {name: count for name, count in report['splits']['train']['labels'].items() if count} == {
        'crane': 1,
        'limpkin, Aramus pictus': 1,
    }
    assert len(report['splits']['train']['labels']) == 1000 and 'several classes are called crane' in report['notes'][0]


@pytest.mark.parametrize(
    ('file', 'text', 'said'),
    [
        ('train.txt', 'train/a.png', 'line 1 of .*train.txt must be the path of an image and'),
        ('train.txt', 'train/a.png cat', 'line 1 of .*train.txt must be the path of an image and'),
        ('train.txt', '', 'has no images'),
        ('classes.txt', None, 'classes.txt'),
    ],
)
def test_a_list_that_cannot_be_read_is_one_message(data, tmp_path, file, text, said):
    (data / file).unlink() if text is None else (data / file).write_text(text)
    assert re.search(said, check(CIFAR, folder=tmp_path).mistake)
