"""A classifier is exported and predicts as mmpretrain's own inferencer does, from a checkpoint and from a file."""

import csv
import json
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exporting import export, picture
from in_process import ROOT, call
from PIL import Image
from tiny_cifar import NAMES
from tiny_classifier import write_classifier, write_images

pytest.importorskip('mmpretrain', reason='classifiers need the extra [classification]')
pytest.importorskip('onnx', reason='pip install "mmseg-sr[export]" to test exported networks')

from mmpretrain import ImageClassificationInferencer
from mmpretrain.datasets.transforms import PackInputs, ResizeEdge

from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.serving.export import load_program, trace
from mmseg_sr.serving.metadata import Metadata, load, resizing_steps
from mmseg_sr.serving.portable import portable_network
from mmseg_sr.serving.predict import OnnxRuntime, Predictor, TorchRuntime

BLOCK = 'backbone.layer3.SR3'


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """A folder with a classifier of ten classes, net.py, net.pth and net.onnx, and images of them in data/."""
    folder = tmp_path_factory.mktemp('served')
    write_images(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CIFAR10_ROOT', str(folder / 'data'))
        write_classifier(folder)
        said = export(folder / 'net.py', folder / 'net.pth', folder / 'net.onnx').document
        (folder / 'said.json').write_text(json.dumps(said))
        yield folder


@pytest.fixture
def predict(home, tmp_path):
    """Call tools/predict.py with the exported network, or with the words of another one, first."""

    def run(*words, network=('net.onnx',)):
        paths = [home / each for each in network]
        return call('predict', *paths, *words, folder=tmp_path)

    return run


TORCH = ('net.py', 'net.pth')


def scores_of(home, images) -> np.ndarray:
    """The scores (N, K) that mmpretrain gives to image files."""
    inferencer = ImageClassificationInferencer(str(home / 'net.py'), pretrained=str(home / 'net.pth'), device='cpu')
    return np.stack([each['pred_scores'] for each in inferencer([str(image) for image in images])])


def test_the_file_takes_pixels_and_says_all_that_is_needed(home):
    said = json.loads((home / 'said.json').read_text())
    assert said['size'] == [32, 32] and said['frames'] == 'validation images of the config'
    assert said['resizes'] == [], 'a block of the trained size needs none'
    assert said['blocks'] == [dict(name=BLOCK, form='recall', resized=False, memory=[3, 32, 8, 8])]
    (check,) = said['checks']
    assert check['agreement'] == 1 and check['max_difference'] < 1e-4 * check['max_logit']
    run = OnnxRuntime(home / 'net.onnx')
    (put,), (out,) = run.session.get_inputs(), run.session.get_outputs()
    assert (put.type, put.shape) == ('tensor(uint8)', ['batch', 3, 32, 32])
    assert (out.name, out.shape) == ('logits', ['batch', 10])
    assert (run.metadata.task, run.metadata.classes) == ('classification', NAMES[:10])
    assert run.metadata.mean == pytest.approx([125.307, 122.961, 113.858]) and run.metadata.palette == []
    content = (home / 'net.onnx').read_bytes()
    assert str(ROOT).encode() not in content and str(home).encode() not in content


def test_a_checkpoint_and_a_file_predict_what_mmpretrain_does(home, predict, tmp_path):
    images = sorted((home / 'data/test').rglob('*.png'))
    wanted = scores_of(home, images)
    assert len({tuple(scores.argsort()) for scores in wanted}) > 10, 'the network tells images apart'
    for network, words in ((TORCH, ('--batch', 3)), (('net.onnx',), ())):
        said = predict(home / 'data/test', '--out', network[0][-4:], *words, network=network)
        document = said.document
        assert (document['written'], document['skipped'], document['failed']) == (40, 0, {})
        assert said.err.splitlines()[-1] == f'40 predicted, 0 were there: {network[0][-4:]}'
        assert said.out.count(' % ') >= 20 * 5 and len(said.out.splitlines()) == 1 + 2 + 20 + 2
        with (tmp_path / network[0][-4:] / 'predictions.csv').open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 40 * 5
        for image, scores in zip(images, wanted, strict=True):
            name = image.relative_to(home / 'data/test').as_posix()
            found = document['predictions'][name]
            order = (-scores).argsort()[:5]
            assert [each['label'] for each in found] == order.tolist()
            assert [each['class'] for each in found] == [NAMES[label] for label in order]
            assert [each['score'] for each in found] == pytest.approx(scores[order], abs=1e-5)
            mine = [row for row in rows if row['image'] == name]
            assert mine == [{'image': name, **{key: str(value) for key, value in each.items()}} for each in found]


@pytest.mark.parametrize('kind', ['ResizeEdge', 'mmpretrain.ResizeEdge', ResizeEdge])
def test_a_step_is_known_by_what_its_type_means(kind):
    pipeline = [dict(type='mmpretrain.LoadImageFromFile'), dict(type=kind, scale=256), dict(type=PackInputs)]
    assert resizing_steps(pipeline) == [dict(type='ResizeEdge', scale=256)]


def test_what_is_predicted_is_what_a_test_counts(home, predict, tmp_path):
    words = (home / 'net.py', home / 'net.pth', '--confusion', tmp_path / 'said.npz')
    assert call('test', *words, '--work-dir', tmp_path / 'work', folder=tmp_path).status == 0
    found = predict(home / 'data/test').document['predictions']
    with np.load(tmp_path / 'said.npz') as said:
        assert [found[name][0]['label'] for name in said['images']] == said['predicted'].tolist()


def test_one_image_needs_no_folder(home, predict, tmp_path):
    image = next((home / 'data/test').rglob('*.png'))
    document = predict(image).document
    assert document['out'] is None and list(document['predictions']) == [image.name] and not list(tmp_path.iterdir())


def test_a_stopped_run_goes_on_and_an_image_that_fails_stops_no_other(home, predict, tmp_path, monkeypatch):
    folder = shutil.copytree(home / 'data/test/kind_3', tmp_path / 'few')
    first, *_, last = sorted(folder.iterdir())
    last.write_bytes(last.read_bytes()[:50])
    Image.fromarray(picture((40, 50))).save(folder / 'zz.png')
    done = predict(folder, '--out', 'whole')
    whole = (tmp_path / 'whole/predictions.csv').read_bytes()
    assert done.status == 2 and f'{last}: it is damaged' in done.err
    assert 'the image is 40x50, and the network takes 32x32 only: export with --dynamic or another --shape' in done.err
    calls = []

    def stop(self, *words):
        calls.append(words)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(self, *words)

    run = Predictor.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, '__call__', stop)
        assert predict(folder, '--out', 'out').status == 130
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'predict.json', 'predictions.csv'}
    again = json.loads(predict(folder, '--out', 'out').out.splitlines()[-1])
    assert (again['skipped'], again['written'], len(again['predictions'])) == (2, 1, 3)
    assert (tmp_path / 'out/predictions.csv').read_bytes() == whole
    assert 'has other predictions' in predict(folder.parent / 'few', '--out', 'out', network=TORCH).mistake
    (tmp_path / 'out/predictions.csv').write_text('image,rank\nx,1\n')
    assert 'is damaged: predict anew by --overwrite' in predict(first, '--out', 'out').mistake
    assert predict(first, '--out', 'out', '--overwrite').document['written'] == 1


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('--mode', 'slide', '--window', 16), 'a classifier takes whole images'),
        (('--window', 16, 16), 'windows and strides belong to mode slide'),
        (('--opacity', 0.3), '--opacity is for the colours of segmentors'),
        (('--overwrite',), '--overwrite belongs to --out DIR'),
    ],
    ids=lambda words: words[0],
)
def test_what_a_classifier_has_no_use_for_is_refused_in_one_line(home, predict, words, said, tmp_path):
    assert said in predict(home / 'data/test', *words).mistake and not list(tmp_path.iterdir())


KINDS = {
    'as it is': ('', 'resnet18_1xb128-64k_cifar10'),
    'D2D, CBAM and SR4': ("model = dict(backbone=dict(use=['D2D', 'CBAM', 'SR4']))", 'resnet18_1xb128-64k_cifar10'),
    'DB, SE, BGR, padded': (
        "model = dict(backbone=dict(use=['DB', 'SE']), data_preprocessor=dict(to_rgb=False, pad_size_divisor=24))",
        'resnet18_1xb128-64k_cifar10',
    ),
    'VGG': ("model = dict(backbone=dict(use=['SR2']))", 'vgg16_1xb128-64k_cifar10'),
}


@pytest.mark.parametrize(('extra', 'network'), KINDS.values(), ids=KINDS)
def test_pixels_become_what_mmpretrain_makes_of_them(home, tmp_path, extra, network):
    config = write_classifier(tmp_path, extra, network)
    model, metadata = load(load_config(config), tmp_path / 'net.pth')
    paths = []
    for seed in range(3):
        paths.append(tmp_path / f'{seed}.png')
        Image.fromarray(picture((37, 45), seed)).save(paths[-1])
    metadata.size = [37, 45]
    served, metadata = portable_network(model, metadata)
    run = TorchRuntime(trace(served, (37, 45), dynamic=False).module(), metadata)
    images = np.stack([picture((37, 45), seed).transpose(2, 0, 1) for seed in range(3)])
    found = Predictor(run)(images, [(37, 45)] * 3)
    for ranking, scores in zip(found, scores_of(tmp_path, paths), strict=True):
        assert ranking == [(label, pytest.approx(scores[label], abs=1e-5)) for label in (-scores).argsort()[:5]]


MANY = """
model = dict(backbone=dict(backbone=dict(stem_channels=8, base_channels=8)), head=dict(in_channels=64, num_classes=300))
"""
IMAGENET = """
model = dict(
    backbone=dict(
        backbone=dict(base_channels=8, stem_channels=8), use=['SR3'], insert=dict(SR3=dict(num_memories=2)),
    ),
    head=dict(in_channels=256),
)
"""


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Pictures of other sizes than the test size, and a network of 1,000 classes."""
    folder = tmp_path_factory.mktemp('imagenet')
    write_classifier(folder, IMAGENET, 'resnet50_4xb32-4504k_imagenet')
    for seed, size in enumerate([(300, 200), (180, 400)]):
        Image.fromarray(picture(size, seed)).save(folder / f'{seed}.png')
    return folder


def test_an_image_is_resized_and_cropped_as_in_the_test_of_imagenet(photos, tmp_path):
    out = tmp_path / 'net.onnx'
    said = export(photos / 'net.py', photos / 'net.pth', out, '--num-frames', 1).document
    assert said['size'] == [224, 224] and said['frames'] == 'drawn streets' and said['resizes'] == []
    document = call('predict', out, photos, folder=tmp_path).document
    scores = scores_of(photos, [photos / '0.png', photos / '1.png'])
    for found, wanted in zip(document['predictions'].values(), scores, strict=True):
        assert [each['label'] for each in found] == (-wanted).argsort()[:5].tolist()
    assert found[0]['class'] != f'class {found[0]["label"]}', 'the names of ImageNet, which no checkpoint told'


def test_labels_of_many_classes_and_any_size(tmp_path):
    config = write_classifier(tmp_path, MANY)
    words = ('--format', 'torch-export', '--output', 'labels', '--dynamic', '--num-frames', 3)
    said = export(config, tmp_path / 'net.pth', tmp_path / 'net.pt2', *words).document
    assert [row['size'] for row in said['checks']] == [[32, 32], [64, 64], [37, 37]]
    assert all(row['agreement'] == 1 and row['max_difference'] is None for row in said['checks'])
    module, metadata = load_program(tmp_path / 'net.pt2')
    labels = module(torch.zeros(2, 3, 65, 97, dtype=torch.uint8))
    assert labels.shape == (2,) and labels.dtype == torch.int64
    with pytest.raises(ValueError, match='labels, and no scores: export with --output logits'):
        Predictor(TorchRuntime(module, metadata))


def test_half_precision_and_static_recall_are_held_against_mmpretrain_too(home, tmp_path):
    (tmp_path / 'ablation.json').write_text(json.dumps({'static_weights': {BLOCK: [0.5, 0.25, 0.25]}}))
    files = (home / 'net.py', home / 'net.pth')
    torch_s, frames = ('--format', 'torch-export'), ('--frames', home / 'data/test', '--num-frames', 9)
    half = export(*files, tmp_path / 'half.pt2', *torch_s, '--fp16', *frames).document
    assert half['precision'] == 'float16' and half['checks'][0]['pictures'] == 9
    weights = load_program(tmp_path / 'half.pt2')[0].state_dict()
    assert weights['network.backbone.layer4.1.conv2.weight'].dtype == torch.float16
    static = export(*files, tmp_path / 'a.pt2', *torch_s, '--static-recall', tmp_path / 'ablation.json').document
    assert static['blocks'][0]['form'] == 'bias', 'of which nothing depends on the image'


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('--dynamic', '--cfg-options', 'model.data_preprocessor.pad_size_divisor=8'), 'pads images in tests.*--shape'),
        (('--dynamic', '--cfg-options', 'model.backbone.insert.SR3.resize=False'), 'SR3 has resize=False.*--shape'),
        (('--shape', 8, 4, '--cfg-options', 'model.backbone.insert.SR3.resize=False'), 'cannot take an image of 8x4'),
        (
            ('--cfg-options', 'val_dataloader.dataset.pipeline.1.type=ColorJitter'),
            'pipeline has .*ColorJitter',
        ),
        (('--cfg-options', 'model.head.type=MultiLabelLinearClsHead'), 'no segmentor and no classifier of one class'),
        (('--cfg-options', 'crop_size=None'), 'give --shape H W, or --dynamic'),
    ],
    ids=lambda words: str(words[-1])[:50],
)
def test_what_cannot_be_exported_is_one_line_before_anything_is_written(home, tmp_path, words, said):
    done = export(home / 'net.py', home / 'net.pth', tmp_path / 'a.onnx', *words)
    assert re.search(said, done.mistake) and not list(tmp_path.iterdir())


def test_a_file_that_needs_mmpretrain_to_resize_says_so_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmpretrain.datasets.transforms', None)
    metadata = Metadata(['cat', 'dog'], task='classification', steps=[dict(type='ResizeEdge', scale=256)])
    with pytest.raises(UserError, match=r'ResizeEdge is of mmpretrain: pip install "mmseg-sr\[classification\]"'):
        Predictor(SimpleNamespace(metadata=metadata))
