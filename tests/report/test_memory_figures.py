"""Figures of the memory show the numbers they are given; tools/visualize_sr.py draws them for a checkpoint."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import _pylab_helpers
from matplotlib.figure import Figure
from mmengine.config import Config
from PIL import Image
from tiny_config import write_config, write_images
from tiny_report import write_checkpoint

from mmseg_sr.memory.stats import class_shares, weights_by_group
from mmseg_sr.report import memory_figures as figures
from mmseg_sr.report.pictures import Picture
from mmseg_sr.runs.models import class_names, load_sr_model

SR = """
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'],
    sr=[dict(after=name, memory_size=size, hidden_channels=4, num_memories=3) for name, size in {stages}],
)
"""
ONE = SR.format(stages="[('layer3', (4, 4))]")
TWO = SR.format(stages="[('layer2', (8, 8)), ('layer3', (4, 4))]")
BLOCKS = ['backbone.layer2.sr', 'backbone.layer3.sr']


def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def pictures() -> list[Picture]:
    images = [random().integers(0, 255, (*size, 3)).astype(np.uint8) for size in ((20, 40), (30, 30))]
    return [Picture(f'street {index}', image, image[..., 0] % 3) for index, image in enumerate(images)]


def text(figure: Figure) -> str:
    found = figure.findobj(lambda artist: hasattr(artist, 'get_text'))
    return '\n'.join(artist.get_text() for artist in found if isinstance(artist.get_text(), str))


@pytest.mark.parametrize(('classes', 'blocks'), [(2, 1), (11, 3), (19, 10)])
def test_weights_figure(classes, blocks):
    weights, shares = random().dirichlet(np.ones(blocks), 7), random().random((7, classes))
    shares[:, -1] = 0
    names = [f'class {index}' for index in range(classes)]
    groups, everything = weights_by_group(weights, shares), weights_by_group(weights, np.ones((7, 1)))
    figure = figures.weights_figure('some.block', names, groups, everything, 'by share')
    titles = [f'{name} (7)' for name in ('all', *names[:-1])]
    assert [ax.get_title() for ax in figure.axes] == [*titles, f'{names[-1]} (0)']
    for ax, mean in zip(figure.axes, [*everything.mean, *groups.mean], strict=True):
        heights = [bar.get_height() for bar in ax.patches]
        assert heights == ([] if np.isnan(mean).any() else pytest.approx(mean))
        if heights:
            assert ax.lines[-1].get_ydata() == pytest.approx(everything.mean[0])
    written = text(figure)
    assert all(part in written for part in ('some.block', 'by share', 'softmax weight', 'memory block', 'in no image'))
    assert not _pylab_helpers.Gcf.figs, 'nothing of pyplot'


def test_maps_figure(pictures):
    before = [random().random((5, 10)), random().random((6, 6)) + 4]
    after = [before[0] + 0.5, before[1] - np.linspace(0, 2, 6)]
    palette = [[255, 0, 0], [0, 255, 0], [0, 0, 0]]
    maps = list(zip(before, after, strict=True))
    figure = figures.maps_figure('some.block', pictures, maps, ('road', 'car', 'tree'), palette)
    rows = [figure.axes[:5], figure.axes[5:10]]
    for row, picture, x, y in zip(rows, pictures, before, after, strict=True):
        images = [ax.images[0] for ax in row]
        height, width = picture.image.shape[:2]
        painted = np.asarray(palette)[picture.prediction]
        for image, values in zip(images, (picture.image, painted, x, y, y - x), strict=True):
            np.testing.assert_allclose(image.get_array(), values)
        for image in images[2:]:
            assert image.get_extent() == [0, width, height, 0], 'over the picture'
        for image in images[2:4]:
            assert image.get_clim() == (min(before[0].min(), after[0].min()), before[1].max()), 'one range for all'
        assert images[4].get_clim() == (-2, 2), 'zero in the middle'
    assert len(rows[0][4].lines[0].get_xdata()) == 0, 'no dots: it is positive'
    assert len(rows[1][4].lines[0].get_xdata()) == 30
    written = text(figure)
    assert all(part in written for part in ('some.block', 'street 1', 'road', 'tree', 'pixels of the picture'))
    colours = [np.multiply(patch.get_facecolor()[:3], 255).round() for patch in figure.legends[0].get_patches()]
    assert np.abs(np.subtract(colours, palette)).max() == 1 and np.min(colours) > 0, (
        'black is for what a dark page turns'
    )
    shift = 100 * 0.5 / before[0].mean()
    assert f'difference ({shift:.2g} %)' in written


@pytest.mark.parametrize('blocks', [1, 3, 10])
def test_memory_figure(blocks):
    means = random().normal(size=(blocks, 4, 6))
    figure = figures.memory_figure('some.block', means, np.arange(blocks) + 0.25, np.full(blocks, 1 / blocks))
    for index, ax in enumerate(figure.axes[:blocks]):
        assert ax.get_title() == f'block {index}\nnorm {index + 0.25:.3g}, weight {1 / blocks:.2f}'
        assert np.array_equal(ax.images[0].get_array(), means[index])
        assert ax.images[0].get_clim() == (-np.abs(means).max(), np.abs(means).max())


def test_an_untrained_memory_can_be_drawn(tmp_path):
    figures.memory_figure('untrained', np.zeros((1, 2, 3)), np.zeros(1), np.ones(1)).savefig(tmp_path / 'zero.png')
    assert (tmp_path / 'zero.png').stat().st_size > 1000


@pytest.mark.parametrize(('scale', 'unit', 'factor'), [(1, '', 1), (1e-6, 'in $10^{-6}$', 1e6), (0, '', 1)])
def test_scores_figure(scale, unit, factor):
    change = np.array([[1.5, -0.25, 0.0], [3.0, 0.5, -2.0]]) * scale
    figure = figures.scores_figure('some.block', ['road', 'car', 'tree'], change, np.array([0.25, 0]), 'note')
    heat = figure.axes[0]
    np.testing.assert_allclose(heat.images[0].get_array(), change.T * factor)
    assert heat.images[0].get_clim()[0] == -heat.images[0].get_clim()[1]
    found = [
        [label.get_text() for label in each] for each in (heat.texts, heat.get_xticklabels(), heat.get_yticklabels())
    ]
    numbers = [f'{value:+.2f}' for value in (change.T * factor).ravel()]
    assert found == [numbers, ['0\n25 %', '1\n0 %'], ['road', 'car', 'tree']]
    assert unit in text(figure) and 'some.block' in text(figure)


@pytest.mark.parametrize('blocks', [1, 3, 10])
def test_places_figure(pictures, blocks):
    change = [random().random((blocks, 5, 10)), random().random((blocks, 6, 6)) * 3]
    figure = figures.places_figure('some.block', pictures, change)
    drawn = [ax.images[0] for ax in figure.axes if ax.get_title().startswith('block')]
    assert len(drawn) == 2 * blocks
    for image, values in zip(drawn, [*change[0], *change[1]], strict=True):
        assert np.array_equal(image.get_array(), values)
        assert image.get_clim() == (0, change[1].max()), 'one range for all'


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with a dataset of two drives, and configs with one SR block and two, with a checkpoint of each."""
    home = tmp_path_factory.mktemp('a home')
    write_images(home / 'data', count=6)
    for path in sorted(home.glob('data/*/*.png')):
        path.rename(path.with_name(f'drive{int(path.stem) % 2}_{path.name}'))
    write_checkpoint(write_config(home, extra=ONE), home / 'weights.pth')
    write_checkpoint(write_config(home, 'two.py', TWO), home / 'two.pth')
    return home


def test_draws_a_checkpoint_and_writes_the_numbers(home, call):
    out = home / 'some figures'
    options = ['--out', out, '--pictures', 2, '--dpi', 50]
    document = call('visualize_sr', home / 'tiny.py', home / 'weights.pth', *options).document
    assert document == json.loads((out / 'memory.json').read_text())
    assert sorted(path.name for path in out.iterdir()) == document['files']
    drawings = ('weights', 'drives', 'maps', 'memory', 'scores', 'places')
    assert {f'backbone.layer3.sr.{each}.png' for each in drawings} < set(document['files'])
    for path in out.glob('*.png'):
        assert np.array(Image.open(path).convert('L')).std() > 5

    block = document['blocks']['backbone.layer3.sr']
    memory = torch.load(home / 'weights.pth')['state_dict']['backbone.layer3.sr.memory']
    assert block['norms'] == pytest.approx(memory.flatten(1).norm(dim=1).tolist(), rel=1e-5)
    rows = list(csv.DictReader((out / 'images.csv').open()))
    assert len(rows) == 6 * 3 and {row['drive'] for row in rows} == {'drive0', 'drive1'}
    weights = np.array([float(row['weight']) for row in rows]).reshape(6, 3)
    labels = [np.array(Image.open(home / 'data/ann' / row['image'])) for row in rows[::3]]
    expected = weights_by_group(weights, np.stack([class_shares(each, 4) for each in labels]))
    for index, name in enumerate(('road', 'car', 'tree')):
        assert block['weights']['classes'][name]['images'] == 6
        np.testing.assert_allclose(block['weights']['classes'][name]['mean'], expected.mean[index], rtol=1e-4)
    assert block['weights']['classes']['train'] == {'images': 0, 'mean': [None] * 3, 'std': [None] * 3}
    assert block['weights']['drives']['drive1']['images'] == 3
    maps = json.loads((out / 'maps.json').read_text())
    assert np.shape(maps['memory']['backbone.layer3.sr']) == (3, 4, 4)
    assert len(maps['pictures']) == 2


def test_images_alone_where_there_are_no_data(home, call):
    image = home / 'data/img/drive0_0.png'
    options = ['val_dataloader=None', 'test_dataloader=None', 'train_dataloader=None']
    options = ['--images', image, '--no-ablation', '--cfg-options', *options]
    done = call('visualize_sr', home / 'tiny.py', home / 'weights.pth', *options)
    document = done.document
    assert 'weights by class are left out' in done.out and document['data'] == 'images'
    assert document['blocks']['backbone.layer3.sr']['weights']['classes'] is None
    assert document['out'] == str(home / 'work/tiny/memory')
    assert not [file for file in document['files'] if 'weights.png' in file] and len(document['files']) == 4 + 2


def test_two_blocks_in_slide_mode_without_ablation(home, call):
    slide = ['model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(32,64)', 'model.test_cfg.stride=(16,64)']
    options = ['--no-ablation', '--num-images', 2, '--split', 'train', '--out', 'out', '--cfg-options', *slide]
    document = call('visualize_sr', home / 'two.py', home / 'two.pth', *options).document
    assert list(document['blocks']) == BLOCKS
    assert {f'{name}.weights.png' for name in BLOCKS} < set(document['files'])
    assert document['windows'] == 3 and 'scores.csv' not in document['files']
    assert document['blocks']['backbone.layer3.sr']['images'] == 2
    (first, second) = json.loads(Path('out/maps.json').read_text())['pictures']
    assert np.shape(first['blocks']['backbone.layer3.sr']['before']) == (4, 4)


def test_mistakes_are_one_message(home, call, tmp_path):
    config, weights = home / 'tiny.py', home / 'weights.pth'
    stock = write_config(home, 'stock.py')
    write_checkpoint(stock, home / 'stock.pth')
    (tmp_path / 'text.png').write_text('no image')
    nowhere = ('--cfg-options', 'val_dataloader.dataset.data_root=nowhere')
    damaged = sorted(shutil.copytree(home / 'data', tmp_path / 'cut').glob('img/*'))[2]
    os.truncate(damaged, 100)
    train = ('--split', 'train', '--cfg-options', 'train_dataloader.dataset.data_root=cut')
    for arguments, message in (
        ((home / 'none.py', weights), 'no such config'),
        ((config, home / 'none.pth'), 'no such checkpoint'),
        ((config, config), 'is no checkpoint'),
        ((stock, home / 'stock.pth'), 'has no SR block'),
        ((config, home / 'stock.pth'), 'has no weights of backbone.layer3.sr'),
        ((config, weights, '--images', 'none.png'), 'no such image: none.png'),
        ((config, weights, '--images', 'text.png'), 'cannot read the image text.png'),
        ((config, weights, *nowhere), '--images'),
        ((config, weights, *train), 'cannot read image 2 of train: '),
    ):
        assert message in call('visualize_sr', *arguments).mistake


def test_class_names_without_a_dataset(home):
    cfg = Config.fromfile(home / 'tiny.py')
    model = load_sr_model(cfg, home / 'weights.pth')
    assert class_names(model)[0] == [f'class {index}' for index in range(4)]
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c', 'd'), palette=[[1, 2, 3]] * 4))
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, home / 'named.pth')
    assert class_names(load_sr_model(cfg, home / 'named.pth')) == (['a', 'b', 'c', 'd'], [[1, 2, 3]] * 4)
