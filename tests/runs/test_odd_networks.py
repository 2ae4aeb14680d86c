"""Networks for one or six channels, or of two classes and a threshold, on data strung together or mixed.

Every tool works, or says in one line why not.
"""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from in_process import call, forget_runs
from PIL import Image
from tiny_config import SR, write_config
from tiny_report import write_checkpoint

from mmseg_sr.runs.models import class_names

GREY = """
for step in (pipeline[0], tta_pipeline[0]):
    step['color_type'] = 'grayscale'
model['data_preprocessor'].update(mean=[127.5], std=[127.5])
model['backbone']['in_channels'] = 1
"""
ARRAYS = """
custom_imports['imports'].append('load_arrays')
for step in (pipeline[0], tta_pipeline[0]):
    step['type'] = 'LoadArray'
dataset.update(img_suffix='.npy')
model['data_preprocessor'].update(mean=None, std=None, bgr_to_rgb=False)
model['backbone']['in_channels'] = 6
"""
LOADER = """
import numpy as np
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadArray:
    def __call__(self, sample):
        image = np.load(sample['img_path'])
        return dict(sample, img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
"""
BINARY = """
for head in (model['decode_head'], *model['auxiliary_head']):
    head.update(num_classes=2, out_channels=1, threshold=0.4)
    head['loss_decode']['use_sigmoid'] = True
dataset.update(metainfo=dict(classes=['no', 'yes'], palette=[[0, 0, 0], [1, 2, 3]]))
dataset['data_prefix'] = dict(img_path='img', seg_map_path='bin')
"""
MIXED = """
mosaic = [dict(type='RandomMosaic', prob=1.0, img_scale=(32, 32)), pipeline[2]]
train_dataloader['dataset'] = dict(
    type='MultiImageMixDataset', dataset=dict(dataset, pipeline=pipeline[:2]), pipeline=mosaic
)
for loader in (val_dataloader, test_dataloader):
    loader['dataset'] = dict(type='ConcatDataset', datasets=[dataset, dataset])
test_evaluator = [test_evaluator, dict(type='ClassIoUMetric', prefix='again')]
"""
NETWORKS = {'grey': GREY, 'arrays': ARRAYS, 'binary': BINARY, 'mixed': MIXED}


@pytest.fixture(scope='module', params=NETWORKS)
def network(request, tmp_path_factory):
    """Name, config and checkpoint of a network, and what calls a tool with them and more words."""
    home = tmp_path_factory.mktemp(request.param)
    (home / 'load_arrays.py').write_text(LOADER)
    config = write_config(home, f'{request.param}.py', NETWORKS[request.param] + SR)
    for path in sorted(home.glob('data/*/*.png')):
        pixels = np.array(Image.open(path))
        if path.parent.name == 'img':
            np.save(path.with_suffix('.npy'), np.concatenate([pixels, pixels], -1))
        else:
            (home / 'data/bin').mkdir(exist_ok=True)
            Image.fromarray(np.where(pixels == 255, 255, pixels > 1).astype(np.uint8)).save(
                home / 'data/bin' / path.name
            )
    forget_runs()
    write_checkpoint(config, home / 'w.pth')
    return request.param, config, home / 'w.pth', partial(call, folder=home)


def test_it_is_trained_and_tested(network):
    name, config, weights, call = network
    assert call('train', config).status == 0
    options = ['--tta'] if name == 'mixed' else []
    numbers = call('test', config, weights, *options, '--metrics', 'm.json', '--confusion', 'c.npz').document['metrics']
    assert numbers['mIoU'] >= 0 and ('again/mIoU' in numbers) == (name == 'mixed')
    assert call('test', config, weights, '--format-only', '--out', 'submitted').document['metrics'] == {}
    drawn = call('test', config, weights, '--show-dir', 'drawn')
    if name == 'arrays':
        assert '.npy: it is damaged, or no picture' in drawn.mistake
    else:
        assert drawn.status == 0 and len(list(config.parent.glob('drawn/**/test_*.png'))) == (
            10 if name == 'mixed' else 5
        )


def test_its_data_memory_and_costs_are_looked_at(network):
    name, config, weights, call = network
    checked = call('check_dataset', config)
    found = [split['problems'] for split in json.loads(checked.out.splitlines()[-1])['splits'].values()]
    assert {each['kind'] for each in sum(found, [])} == {'duplicate'}, 'val has the images of train'
    assert call('cost', config, '--rounds', 1).status == 0
    seen = call('visualize_sr', config, weights, '--num-images', 1, '--pictures', 1, '--dpi', 20)
    page = call(
        'report_page', config, weights, '--metrics', 'm.json', '--out', 'page.html', '--num-images', 1, '--pictures', 1
    )
    if name == 'arrays':
        assert '.npy: it is damaged, or no picture' in seen.mistake
        assert '.npy: it is damaged' in page.document['missing'][0]
    else:
        (block,) = seen.document['blocks'].values()
        assert page.document['missing'] == [] and block['weights']['classes'] is not None, 'labels were loaded'
        names = ['no', 'yes'] if name == 'binary' else ['road', 'car', 'tree', 'train']
        assert list(block['score_change']) == names
    ablated = call('ablate', config, weights)
    assert ablated.document['images'] == {'train': 5, 'val': 10 if name == 'mixed' else 5}


def test_it_is_served_or_refused_in_one_line(network):
    name, config, weights, call = network
    done = call('predict', config, weights, 'data/img/0.png', '--out', 'predicted')
    if name in ('grey', 'arrays'):
        assert 'the test pipeline has' in done.mistake
    else:
        assert done.document['written'] == 1


def test_one_channel_is_two_classes():
    model = SimpleNamespace(out_channels=1)
    pair, greys = dict(classes=['no', 'yes'], palette=[[1, 2, 3], [4, 5, 6]]), [[0] * 3, [255] * 3]
    for meta, named in (
        (pair, (['no', 'yes'], pair['palette'])),
        (dict(classes=('tree',), palette=[[9, 9, 9]]), (['background', 'tree'], greys)),
        (None, (['class 0', 'class 1'], greys)),
    ):
        assert class_names(model, SimpleNamespace(metainfo=meta)) == named


@pytest.mark.parametrize('words', [['--tta'], ['--format-only', '--out', 'out'], ['--show-dir', 'drawn'], []])
def test_several_test_loaders_are_a_mistake_of_the_test_alone(words, call, tmp_path):
    config = write_config(tmp_path, extra=f'{SR}\ntest_dataloader = [test_dataloader] * 2\n')
    write_checkpoint(config, Path(tmp_path) / 'w.pth')
    assert 'test_dataloader must be one data loader' in call('test', config, 'w.pth', *words).mistake
    if not words:
        assert call('visualize_sr', config, 'w.pth', '--num-images', 1, '--dpi', 9, '--no-ablation').status == 0
