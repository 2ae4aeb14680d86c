"""What is exported computes what mmseg computes, at every size it takes, and says all that is needed to use it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exporting import PALETTE, export, exported, picture, predicted, randomise, segmentor_of, write_network
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import save_checkpoint
from tiny_config import CLASSES
from trained_block import trained

from mmseg_sr import SRBlock, __version__
from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.memory.interventions import recalling
from mmseg_sr.options import read_options
from mmseg_sr.runs.models import build_model
from mmseg_sr.serving.export import load_program, trace
from mmseg_sr.serving.metadata import Metadata, load
from mmseg_sr.serving.portable import PortableBlock, make_portable, portable_network
from mmseg_sr.serving.predict import OnnxRuntime, Predictor, TorchRuntime

onnx = pytest.importorskip('onnx', reason='pip install "mmseg-sr[export]" to test exported networks')
pytest.importorskip('onnxruntime', reason='pip install "mmseg-sr[export]"')

ROOT = Path(__file__).resolve().parents[2]
BLOCK = 'backbone.layer3.sr'
SLIM = [
    *('model.pretrained=None', 'model.backbone.backbone.base_channels=8', 'model.backbone.sr.memory_size=(4,8)'),
    *('model.decode_head.in_channels=256', 'model.auxiliary_head.in_channels=128'),
]


def expected(segmentor: torch.nn.Module, image: np.ndarray) -> torch.Tensor:
    """mmseg's own logits (1, K, h, w) of an RGB picture, which it takes as OpenCV has it."""
    return predicted(segmentor, image).seg_logits.data[None]


def served(run, image: np.ndarray) -> torch.Tensor:
    return run(np.ascontiguousarray(image.transpose(2, 0, 1))[None])


def close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> SimpleNamespace:
    return exported(tmp_path_factory.getbasetemp())


def test_at_the_trained_size_no_resize_comes_from_the_block(home):
    assert home.said[0]['resizes'] == ['network'], 'only the one that brings logits to the size of the image'
    assert [node.op_type for node in onnx.load(home.fixed).graph.node].count('Resize') == 1
    assert home.said[0]['blocks'] == [dict(name=BLOCK, form='recall', resized=False, memory=[3, 32, 4, 4])]
    images = [picture((64, 64), seed) for seed in range(3)]
    batch = home.run_fixed(np.stack([image.transpose(2, 0, 1) for image in images]))
    close(batch, torch.cat([expected(home.segmentor, image) for image in images]))


def test_the_block_counts_in_these_tests(home):
    image = picture((64, 64))
    with_block = expected(home.segmentor, image)
    with recalling(home.segmentor.get_submodule(BLOCK), torch.tensor([1.0, 0, 0])):
        other = expected(home.segmentor, image)
    assert (with_block - other).abs().max() > 0.01 * with_block.abs().max()


@settings(max_examples=15, deadline=None)
@given(size=st.one_of(st.just((64, 64)), st.tuples(st.integers(9, 150), st.integers(9, 150))))
def test_a_dynamic_network_is_right_at_every_size_the_trained_one_included(home, size):
    close(served(home.run_dynamic, picture(size)), expected(home.segmentor, picture(size)))


def test_a_dynamic_network_has_the_block_s_resizes_inside(home):
    assert home.said[1]['resizes'] == [BLOCK, BLOCK, 'network']
    assert [row['size'] for row in home.said[1]['checks']] == [[64, 64], [51, 133]]


def test_the_check_counts_in_logits_and_labels_on_real_frames_where_they_are(home, camvid, tmp_path):
    arguments = ('--frames', camvid / 'img_dir/val', '--num-frames', 3, '--format', 'torch-export')
    (row,) = export(home.config, home.checkpoint, tmp_path / 'a.pt2', *arguments).document['checks']
    assert row['pictures'] == 3 and row['agreement'] == 1 and 0 <= row['max_difference'] < 1e-4 * row['max_logit']


@pytest.fixture(scope='module')
def program(home) -> Callable:
    """The network of torch.export at any size, written and read again."""
    path = home.folder / 'any.pt2'
    arguments = ('--format', 'torch-export', '--dynamic', '--check-sizes', '64x64')
    assert export(home.config, home.checkpoint, path, *arguments).status == 0
    module, metadata = load_program(path)
    assert metadata.classes == list(CLASSES) and metadata.size is None
    return lambda images: module(torch.from_numpy(images))


@settings(max_examples=15, deadline=None)
@given(size=st.one_of(st.just((64, 64)), st.tuples(st.integers(33, 150), st.integers(33, 150))))
def test_torch_export_is_right_at_every_size_too(home, program, size):
    """But where a map has one cell only, at stride 32 below 33 pixels: it refuses those."""
    close(served(program, picture(size)), expected(home.segmentor, picture(size)))


def test_half_precision_takes_half_the_space_and_the_same_pixels(home, tmp_path):
    assert export(home.config, home.checkpoint, tmp_path / 'half.onnx', '--fp16', '--shape', 64, 96).status == 0
    assert (tmp_path / 'half.onnx').stat().st_size < 0.7 * home.fixed.stat().st_size
    image = picture((64, 96))
    got, wanted = served(OnnxRuntime(tmp_path / 'half.onnx'), image), expected(home.segmentor, image)
    assert got.dtype == torch.float32 and 0 < (got - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_a_file_says_all_that_is_needed_and_nothing_of_this_machine(home):
    session = home.run_dynamic.session
    written = session.get_modelmeta().custom_metadata_map
    texts = {key.removeprefix('mmseg_sr.'): json.loads(text) for key, text in written.items()}
    assert texts['classes'] == list(CLASSES) and texts['palette'] == PALETTE and texts['version'] == __version__
    assert texts['mean'] == [120, 110, 100] and texts['std'] == [60, 55, 50] and texts['size'] is None
    assert texts['blocks'][0]['name'] == BLOCK and texts['output'] == 'logits' and texts['checkpoint'] == 'net.pth'
    (put,), (out,) = session.get_inputs(), session.get_outputs()
    assert (put.name, put.type, put.shape) == ('image', 'tensor(uint8)', ['batch', 3, 'height', 'width'])
    assert (out.name, out.shape) == ('logits', ['batch', 4, 'height', 'width'])
    content = home.dynamic.read_bytes()
    assert str(ROOT).encode() not in content and str(home.folder).encode() not in content


def test_pixels_of_another_kind_are_refused(home):
    """Normalised floats, or 0 to 1, would else be predicted without a word."""
    with pytest.raises(Exception, match='uint8'):
        home.run_fixed.session.run(None, {'image': np.zeros((1, 3, 64, 64), np.float32)})


def test_a_resnet_50_exported_to_labels(root, tmp_path):
    config = root / 'configs/fcn/fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py'
    model = build_model(load_config(config, read_options(SLIM)))
    randomise(model)
    save_checkpoint({'state_dict': model.state_dict(), 'meta': {}}, str(tmp_path / 'r50.pth'))
    said = export(
        *(config, tmp_path / 'r50.pth', tmp_path / 'r50.onnx', '--shape', 64, 128, '--output', 'labels'),
        *('--frames', root / 'docs/sr_block.png', '--cfg-options', *SLIM),
    ).document
    assert said['resizes'] == ['network'] and said['checks'][0]['agreement'] > 0.999
    labels = OnnxRuntime(tmp_path / 'r50.onnx')(np.zeros((1, 3, 64, 128), np.uint8))
    assert labels.shape == (1, 64, 128) and labels.dtype == torch.uint8


def random_block(memories: int) -> SRBlock:
    return trained(5, (6, 7), memories).eval()


def zeroed(part: str) -> SRBlock:
    block = random_block(3)
    torch.nn.init.zeros_(block.get_submodule(part).weight)
    return block


@pytest.mark.parametrize('size', [(6, 7), (9, 4)])
@pytest.mark.parametrize(
    ('block', 'constant'),
    [
        (random_block(1), True),
        (zeroed('squeeze'), True),
        (zeroed('gate.0'), True),
        (zeroed('gate.1'), True),
        (random_block(2), False),
    ],
    ids=['one memory', 'no squeeze', 'no hidden layer', 'no output layer', 'recalls'],
)
@torch.no_grad()
def test_a_block_is_equal_in_its_portable_form_and_a_bias_where_its_weights_are_constant(block, constant, size):
    x, tolerance = torch.randn(2, 5, *size), {} if constant else dict(rtol=1e-4, atol=1e-5)
    for sizes in (None, {'0': size}):
        portable = make_portable(torch.nn.Sequential(block), sizes)
        assert portable[0].is_bias is constant is (not list(portable.parameters()))
        torch.testing.assert_close(portable(x), block(x), **tolerance)


@torch.no_grad()
def test_a_block_that_computes_in_another_way_is_left_as_it_is():
    class Twice(SRBlock):
        def recall_add(self, x, weights):
            return super().recall_add(super().recall_add(x, weights), weights)

    block, x = Twice(in_channels=5, memory_size=(6, 7), num_memories=1), torch.randn(2, 5, 6, 7)
    torch.nn.init.normal_(block.memory)
    assert torch.equal(make_portable(torch.nn.Sequential(block), None)(x), block(x))


def test_a_static_network_has_no_gate_in_its_graph(home, tmp_path):
    weights = [0.5, 0.25, 0.25]
    (tmp_path / 'ablation.json').write_text(json.dumps({'static_weights': {BLOCK: weights}}))
    out, arguments = tmp_path / 'static.pt2', ('--static-recall', tmp_path / 'ablation.json')
    said = export(home.config, home.checkpoint, out, '--format', 'torch-export', *arguments).document
    assert said['blocks'][0]['form'] == 'bias'
    module, _ = load_program(out)
    called = {str(node.target) for node in module.graph.nodes}
    assert 'aten.conv2d.default' in called and not called & {'aten.linear.default', 'aten.softmax.int'}
    with recalling(home.segmentor.get_submodule(BLOCK), torch.tensor(weights)):
        wanted = expected(home.segmentor, picture((64, 64)))
    close(served(lambda images: module(torch.from_numpy(images)), picture((64, 64))), wanted)


def test_a_network_that_computes_something_else_is_not_kept(home, tmp_path, monkeypatch):
    monkeypatch.setattr(PortableBlock, 'forward', lambda block, x: x + 0.1 * block.memory[0])
    done = export(home.config, home.checkpoint, tmp_path / 'wrong.pt2', '--format', 'torch-export')
    assert 'computes something else' in done.mistake
    assert '64x64: ' in done.out and list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_traced_gives_the_reason(home, tmp_path, monkeypatch):
    def forward(block, x):
        return x + block.memory[0] if x.sum() > 0 else x  # depends on the pixels

    monkeypatch.setattr(PortableBlock, 'forward', forward)
    done = export(home.config, home.checkpoint, tmp_path / 'wrong.onnx')
    assert 'cannot trace the network by torch.export' in done.mistake and 'data-dependent' in done.err
    assert len(done.err.splitlines()) < 5 and list(tmp_path.iterdir()) == []


SCENE = ['model.data_preprocessor.type=SceneDataPreProcessor', 'model.backbone.scene=True']


def test_a_memory_of_the_scene_is_exported_for_whole_images_only(home, tmp_path):
    out = tmp_path / 'scene.onnx'
    # Held against PyTorch, whose data preprocessor says where each pixel lies.
    sizes = ['--dynamic', '--check-sizes', '51x133', '64x96']
    said = export(home.config, home.checkpoint, out, *sizes, '--cfg-options', *SCENE).document
    assert said['blocks'][0]['form'] == 'recall'
    with pytest.raises(UserError, match='a whole one: use --mode whole'):
        Predictor(OnnxRuntime(out), mode='slide', window=(64, 64))
    slide = ['model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(64,64)', 'model.test_cfg.stride=(32,32)']
    done = export(home.config, home.checkpoint, tmp_path / 'b.onnx', '--dynamic', '--cfg-options', *SCENE, *slide)
    assert 'Set model.test_cfg.mode=whole' in done.mistake


STEP = 'val_dataloader.dataset.pipeline.1'


@pytest.mark.parametrize(
    ('arguments', 'advice'),
    [
        (['--out', 'a.pt2'], 'needs a file named .onnx'),
        (['--check-sizes', '64x64'], 'belongs to --dynamic'),
        (['--dynamic', '--check-sizes', '64'], 'HEIGHTxWIDTH'),
        (['--format', 'torch-export', '--opset', '20', '--out', 'a.pt2'], 'belongs to --format onnx'),
        (['--shape', '48', '64', '--cfg-options', 'model.backbone.sr.resize=False'], r'resize=False.*\(3, 4\)'),
        (['--dynamic', '--cfg-options', 'model.backbone.sr.resize=False'], 'export with --shape.*--mode slide'),
        (['--dynamic', '--cfg-options', 'model.data_preprocessor.test_cfg.size_divisor=32'], 'pads.*--shape'),
        (
            ['--dynamic', '--cfg-options', 'model.backbone.backbone.conv_cfg.type=Conv2dAdaptivePadding'],
            'pads by.*--shape',
        ),
        (['--dynamic', '--cfg-options', 'model.decode_head.align_corners=True'], 'align_corners=True.*--shape'),
        (['--frames', 'nowhere'], 'there is no nowhere'),
        (['--static-recall', 'nowhere.json'], 'tools/ablate.py --out'),
        (['--cfg-options', f'{STEP}.type=RandomFlip'], 'RandomFlip.*--cfg-options'),
        (['--cfg-options', f'{STEP}.type=CenterCrop', f'{STEP}.crop_size=32'], 'the test pipeline crops images'),
        (['--cfg-options', 'model.data_preprocessor.size=None', 'crop_size=None'], 'give --shape H W, or --dynamic'),
        (['--static-recall', '{home}/another block.json'], 'layer9.sr.*backbone.layer3.sr'),
        (['--static-recall', '{home}/fewer memories.json'], 'has 3 memories'),
    ],
)
def test_a_mistake_is_one_message_before_anything_is_written(home, tmp_path, arguments, advice):
    for name, weights in (('another block', {'layer9.sr': [1.0]}), ('fewer memories', {BLOCK: [0.5, 0.5]})):
        (home.folder / f'{name}.json').write_text(json.dumps({'static_weights': weights}))
    arguments = [each.format(home=home.folder) for each in arguments]
    assert re.search(advice, export(home.config, home.checkpoint, tmp_path / 'a.onnx', *arguments).mistake)
    assert list(tmp_path.iterdir()) == []


KINDS = {
    'as it is': '',
    'BGR, no normalisation': "model['data_preprocessor'] = dict(type='SegDataPreProcessor', size=(64, 64))\n",
    'padded to a divisor': "model['data_preprocessor']['test_cfg'] = dict(size_divisor=32)\n",
    'padded to a size': "model['data_preprocessor']['test_cfg'] = dict(size=(96, 80))\n",
    'aligned corners': "model['decode_head']['align_corners'] = True\n",
    'one channel': "model['decode_head'].update(num_classes=2, out_channels=1, threshold=0.4)\n"
    "model['auxiliary_head'] = None\nfor loader in (train_dataloader, val_dataloader):\n"
    "    loader['dataset']['metainfo'] = dict(classes=('no', 'yes'), palette=[[0, 0, 0], [9, 9, 9]])\n",
}


@pytest.mark.parametrize('extra', KINDS.values(), ids=KINDS)
def test_pixels_become_what_mmseg_makes_of_them(tmp_path, extra):
    config, checkpoint = write_network(tmp_path, 'kind', extra)
    segmentor, metadata = load(load_config(config), checkpoint)
    reference, image = segmentor_of(config, checkpoint), picture((50, 77))
    network, metadata = portable_network(segmentor, replace(metadata, size=list(image.shape[:2])))
    program = trace(network, image.shape[:2], dynamic=False).module()
    got = program(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
    wanted = predicted(reference, image)
    close(got.sigmoid() if reference.out_channels == 1 else got, wanted.seg_logits.data[None])
    (labels,) = Predictor(TorchRuntime(network, metadata))([image.transpose(2, 0, 1)], [image.shape[:2]])
    assert (labels == wanted.pred_sem_seg.data[0].numpy()).mean() > 0.999


def test_a_pipeline_named_in_a_file_runs_nothing_else():
    for steps in ([dict(type='os.system', command='true')], [dict(type='Resize', scale=[8, 8], command='true')]):
        with pytest.raises(UserError, match='cannot set up the resizing'):
            Predictor(SimpleNamespace(metadata=Metadata(['road'], [[0, 0, 0]], steps=steps)))
