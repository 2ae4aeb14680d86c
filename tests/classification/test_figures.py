"""What the memory of a classifier does, by image and by class, and the figures of it: the paper's Figs 2 to 7."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import in_process
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_classifier import write_classifier, write_images
from torch import nn

pytest.importorskip('mmpretrain', reason='classifiers need the extra [classification]')

from mmseg_sr.config import load_config
from mmseg_sr.datasets.build import load_split
from mmseg_sr.errors import UserError
from mmseg_sr.memory.observe import Seen, observe
from mmseg_sr.memory.summary import summarise
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.report.seeing import choose, choose_classes, picture_of
from mmseg_sr.runs.models import class_names, load_model

BLOCK = 'backbone.layer3.SR3'


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """Data of ten classes, and a network with random weights."""
    home = tmp_path_factory.mktemp('figures')
    write_images(home, train=40, test=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CIFAR10_ROOT', str(home / 'data'))
        write_classifier(home)
        yield home


@pytest.fixture
def model(home):
    return load_model(load_config(home / 'net.py'), home / 'net.pth')


@pytest.fixture
def val(home):
    return load_split(load_config(home / 'net.py'), 'val')


def labels(home: Path) -> dict[str, int]:
    """The class of each validation image, by its file's name."""
    lines = (home / 'data/val.txt').read_text().split('\n')
    return {Path(path).name: int(label) for path, label in (line.split() for line in lines if line)}


@torch.no_grad()
def scores(model: nn.Module, sample: dict) -> torch.Tensor:
    """Logits of an image by plain layers."""
    pixels = sample['inputs'].flip(0).float()[None]
    preprocessor = model.data_preprocessor
    x = (pixels - preprocessor.mean.view(1, 3, 1, 1)) / preprocessor.std.view(1, 3, 1, 1)
    return model.head.fc(model.backbone(x)[-1].mean((2, 3)))[0]


def test_what_is_observed_is_what_the_network_does(model, val):
    block, sample = sr_blocks(model)[BLOCK], val[4]
    logits, memory = scores(model, sample), block.memory.detach().clone()
    seen = observe(model, sample)
    view = seen.blocks[BLOCK]
    assert seen.prediction.tolist() == [[logits.argmax().item()]] and seen.windows == 1
    assert seen.logit_size == pytest.approx(logits.abs().mean().item(), rel=1e-5)
    assert seen.shares.tolist() == np.eye(10)[int(sample['data_samples'].gt_label)].tolist()
    assert view.weights.sum() == pytest.approx(1) and view.before.shape == view.after.shape == (8, 8)
    assert view.place_change is None, 'a class has no place'
    for index in range(3):
        block.memory.data[index] = 0
        others = scores(model, sample)
        block.memory.data.copy_(memory)
        np.testing.assert_allclose(view.score_change[index], others - logits, rtol=1e-3, atol=1e-5)
        assert view.flips[index] == float(others.argmax() != logits.argmax())
    added = np.einsum('p,pchw->chw', view.weights, memory).mean(0)
    np.testing.assert_allclose(view.after - view.before, added, atol=1e-4)


def test_names_of_files_tell_no_drives(model, val):
    """Those of ImageNet's training images begin with the class."""
    seen = [replace(observe(model, val[index], ablate=False), path=f'n0{index % 2}_{index}.JPEG') for index in range(4)]
    found = summarise(seen, BLOCK, sr_blocks(model)[BLOCK], class_names(model)[0])
    assert list(found.groups) == ['all', 'classes']


def test_so_many_images_of_each_class_are_chosen(home, val):
    chosen = choose(val, 3)
    found = [int(val.get_data_info(index)['gt_label']) for index in chosen]
    assert found == [label for label in range(10) for _ in range(3)] and len({*chosen}) == 30
    assert sorted(choose(val, 99)) == list(range(len(val))), 'there are no more'
    assert sum(label == 0 for label in labels(home).values()) == 4
    val.get_data_info = lambda index: dict(img_path='a.png', gt_label=[1, 3])
    with pytest.raises(UserError, match='a.png has several labels'):
        choose(val, 3)


def test_of_many_classes_figures_show_some():
    names = [f'class {index}' for index in range(100)]
    shown = choose_classes(names)
    assert len(shown) == 29 and (shown[0], shown[-1]) == (0, 99) and max(np.diff(shown)) <= 4
    assert choose_classes(names, ['class 7', 'class 3']) == [7, 3]
    assert choose_classes(names[:29]) == list(range(29))
    assert choose_classes(['tench, Tinca tinca', 'cliff, drop, drop-off'], ['cliff', 'tench, Tinca tinca']) == [1, 0]


def test_weights_by_class_are_the_plain_means_of_its_images(home):
    options = ('--out', 'out', '--num-images', 3, '--pictures', 2, '--dpi', 50)
    document = in_process.call('visualize_sr', 'net.py', 'net.pth', *options, folder=home).document
    block, rows = document['blocks'][BLOCK], list(csv.DictReader((home / 'out/images.csv').open()))
    drawn = {f'{BLOCK}.{kind}.png' for kind in ('weights', 'maps', 'memory', 'scores')}
    assert drawn == {name for name in document['files'] if name.endswith('.png')}
    for name in drawn:
        assert np.array(Image.open(home / 'out' / name).convert('L')).std() > 5
    weights = np.array([float(row['weight']) for row in rows]).reshape(30, 3)
    classes = [row['class'] for row in rows[::3]]
    assert classes == [f'kind_{labels(home)[row["image"]]}' for row in rows[::3]], 'as the list of images has them'
    for name in {*classes}:
        own = weights[[each == name for each in classes]]
        found = block['weights']['classes'][name]
        assert found['images'] == 3
        np.testing.assert_allclose(found['mean'], own.mean(0), rtol=1e-4)
        np.testing.assert_allclose(found['std'], own.std(0), rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(block['weights']['all']['mean'], weights.mean(0), rtol=1e-4)
    assert block['weights']['drives'] is None
    assert block['ablated'] == len({row['image'] for row in rows if row['flips']}) == 3, 'more passes for three images'
    assert len(json.loads((home / 'out/maps.json').read_text())['pictures']) == 2


def test_named_classes_are_those_that_are_drawn(home, monkeypatch):
    from mmseg_sr.report import memory_figures

    titles = []
    draw = memory_figures.weights_figure
    monkeypatch.setattr(memory_figures, 'weights_figure', lambda *a: titles.append(a[1]) or draw(*a))
    options = ('--out', 'some', '--classes', 'kind_7', 'kind_2', '--pictures', 2, '--no-ablation', '--dpi', 30)
    document = in_process.call('visualize_sr', 'net.py', 'net.pth', *options, folder=home).document
    pictures = json.loads((home / 'some/maps.json').read_text())['pictures']
    assert titles == [['kind_7', 'kind_2']]
    assert {labels(home)[each['image']] for each in pictures} == {7, 2}
    assert len(document['blocks'][BLOCK]['weights']['classes']) == 10, 'the numbers are of all'
    wrong = ('visualize_sr', 'net.py', 'net.pth', '--classes', 'kind_7', 'kid_2', '--out', 'none')
    assert 'no class is called kid_2. The nearest names are kind_2' in in_process.call(*wrong, folder=home).mistake
    assert not (home / 'none').exists()


def test_images_alone_have_no_class(home):
    image = next((home / 'data').glob('test/kind_3/*.png'))
    nothing = ('--cfg-options', 'val_dataloader=None', 'test_dataloader.dataset.data_root=nowhere')
    options = ('--images', image, '--out', 'alone', '--no-ablation', '--dpi', 30, *nothing)
    done = in_process.call('visualize_sr', 'net.py', 'net.pth', *options, folder=home)
    assert done.document['blocks'][BLOCK]['weights']['classes'] is None and 'has no val_dataloader' in done.out
    (row, *_) = csv.DictReader((home / 'alone/images.csv').open())
    assert row['class'] == '' and row['predicted'].startswith('class ')


def test_a_picture_is_the_part_of_the_file_that_the_network_is_given(home, val, model):
    sample = val[0]
    picture = picture_of(sample, observe(model, sample, ablate=False), class_names(model, val)[0])
    file = np.asarray(Image.open(sample['data_samples'].img_path))
    assert np.array_equal(picture.image, file) and picture.prediction is None
    assert picture.name.startswith(f'kind_{int(sample["data_samples"].gt_label)}\npredicted: kind_')
    crop = [dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=(8, 16)), dict(type='PackInputs')]
    sample = load_split(load_config(home / 'net.py', {'val_dataloader.dataset.pipeline': crop}), 'val')[0]
    seen = Seen('x.png', 'image', np.array([[3]]), 1.0, None, 1, {})
    assert np.array_equal(picture_of(sample, seen, 'abcdef').image, file[8:24, 12:20])
    grey = {**sample, 'inputs': torch.tensor([[[-1.0, 0.0, 1.0]]])}
    assert picture_of(grey, seen, 'abcdef').image.tolist() == [[[0] * 3, [127] * 3, [255] * 3]]
    assert picture_of(grey, seen, 'abcdef').name == 'x\npredicted: d'
