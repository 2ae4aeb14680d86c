"""A memory of the scene: every crop, window and flipped view recalls what lies at its place."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.structures import SegDataSample
from scipy.ndimage import map_coordinates
from tiny_config import write_config
from trained_block import plain_recall

from mmseg_sr import SceneDataPreProcessor, SRBackbone
from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.models.recall import recall_add
from mmseg_sr.runs import launch
from mmseg_sr.runs.models import build_model
from mmseg_sr.scene.places import WHOLE, place_of
from mmseg_sr.scene.scene_block import recall_add_at

pytestmark = pytest.mark.usefixtures('fresh')

SCENE = """
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'], scene=True,
    sr=dict(after='layer3', memory_size=(3, 5), num_memories=1, hidden_channels=4),
)
model['data_preprocessor']['type'] = 'SceneDataPreProcessor'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='SceneRandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSceneInputs'),
]
train_dataloader['dataset'] = dict(dataset, pipeline=train_pipeline)
test_pipeline = pipeline
"""

edges = st.floats(0, 1).flatmap(lambda low: st.tuples(st.just(low), st.floats(0, 1)))
boxes = st.tuples(edges, edges).map(lambda spans: (*spans[0], *spans[1]))
sides = st.integers(1, 9)


@settings(deadline=None)
@given(boxes, st.tuples(sides, sides), st.tuples(sides, sides), st.integers(1, 3), st.integers(0, 2**16))
def test_a_crop_recalls_what_lies_at_its_place(box, size, memory_size, memories, seed):
    generator = torch.Generator().manual_seed(seed)
    memory = torch.randn(memories, 2, *memory_size, generator=generator)
    weights = torch.rand(1, memories, generator=generator)
    x = torch.randn(1, 2, *size, generator=generator)
    got = recall_add_at(x, weights, memory, place_of(box, size, size)[None])

    scene = np.einsum('p,pchw->chw', weights[0].double().numpy(), memory.double().numpy())
    rows, columns = (
        (start + (end - start) * (np.arange(side) + 0.5) / side) * cells - 0.5
        for start, end, side, cells in zip(box[::2], box[1::2], size, memory_size, strict=True)
    )
    at = np.meshgrid(rows, columns, indexing='ij')
    expected = x[0].numpy() + [map_coordinates(channel, at, order=1, mode='nearest') for channel in scene]
    np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [(3, 5), (6, 4), (1, 11)])
def test_a_whole_scene_recalls_as_a_map_of_another_size_does(size):
    x, weights, memory = torch.randn(2, 4, *size), torch.rand(2, 3), torch.randn(3, 4, 3, 5)
    place = place_of(WHOLE, size, size).expand(2, -1, -1, -1)
    torch.testing.assert_close(recall_add_at(x, weights, memory, place), recall_add(x, weights, memory))


@settings(deadline=None)
@given(boxes, st.tuples(sides, sides), st.sampled_from([torch.contiguous_format, torch.channels_last]))
def test_the_fast_form_computes_what_the_plain_form_does(box, size, layout):
    x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    weights, memory = torch.rand(2, 2).double().requires_grad_(), torch.randn(2, 3, 4, 5).double().requires_grad_()
    place = torch.stack([place_of(box, (32, 48), (32, 48)), place_of(WHOLE, (32, 48), (32, 48))])
    direction = torch.randn(x.shape, dtype=torch.float64)
    results = []
    for form in (recall_add_at, lambda x, *given: x + plain_recall(*given, x.shape[-2:])):
        out = form(x, weights, memory, place)
        assert out.is_contiguous(memory_format=layout)
        results.append([out, *torch.autograd.grad(out, (x, weights, memory), direction)])
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)  # places are float32


def test_the_places_of_pixels_give_those_of_cells():
    x, memory, box = torch.zeros(1, 2, 4, 6), torch.randn(1, 2, 5, 5), (0.25, 0.5, 0.9, 0.1)
    pixels, cells = (place_of(box, size, size)[None] for size in ((64, 96), (4, 6)))
    by_pixels = recall_add_at(x, torch.ones(1, 1), memory, pixels)
    torch.testing.assert_close(by_pixels, recall_add_at(x, torch.ones(1, 1), memory, cells), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('flip_first', [False, True])
@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('seed', range(4))
def test_the_channels_name_the_place_each_pixel_came_from(flip_first, direction, seed):
    """The image is a map of its own coordinates: what the pipeline did to it is read from its pixels."""
    height, width = 90, 120
    true = place_of(WHOLE, (height, width), (height, width)).permute(1, 2, 0).numpy()
    flip = dict(type='RandomFlip', prob=0.7, direction=direction)
    crop = dict(type='SceneRandomCrop', crop_size=(48, 64))
    steps = [dict(type='RandomResize', scale=(120, 90), ratio_range=(0.5, 2.0), keep_ratio=True)]
    steps += [flip, crop] if flip_first else [crop, flip]
    steps += [dict(type='Resize', scale=(64, 48)), dict(type='SceneRandomCrop', crop_size=(40, 40))]
    init_default_scope('mmseg')
    pipeline = Compose(steps)
    np.random.seed(seed)
    done = pipeline(
        dict(img=np.dstack([true, true[..., :1]]), gt_seg_map=np.zeros((height, width), np.uint8), seg_fields=[])
    )
    sample = SegDataSample(metainfo={key: done.get(key) for key in ('scene_box', 'flip', 'flip_direction')})
    image = torch.from_numpy(done['img'].transpose(2, 0, 1).copy())
    given = SceneDataPreProcessor()(dict(inputs=[image], data_samples=[sample]))['inputs'][0]
    inner = (slice(None), slice(3, -3), slice(3, -3))  # at the border a resize has no neighbours
    torch.testing.assert_close(given[3:][inner], given[:2][inner], atol=0.02, rtol=0)


def test_a_batch_has_a_place_for_each_image():
    boxes = [(0.0, 0.5, 0.5, 1.0), (0.25, 0.75, 0.0, 0.5)]
    samples = [SegDataSample(metainfo=dict(scene_box=box, flip=bool(i))) for i, box in enumerate(boxes)]
    samples[1].set_metainfo(dict(flip_direction='horizontal'))
    data = dict(inputs=[torch.zeros(3, 2, 2)] * 2, data_samples=samples)
    places = SceneDataPreProcessor(size=(2, 2))(data, training=True)['inputs'][:, 3:]
    assert places[0, 0, :, 0].tolist() == [-0.75, -0.25]
    assert places[0, 1, 0].tolist() == [0.25, 0.75]
    assert places[1, 0, :, 0].tolist() == [-0.25, 0.25]
    assert places[1, 1, 0].tolist() == [-0.25, -0.75]


def test_padding_moves_nothing_and_recalls_the_edge():
    memory = torch.randn(1, 2, 3, 4)
    box, ones = (0.0, 1.0, 0.5, 1.0), torch.ones(1, 1)
    bare = recall_add_at(torch.zeros(1, 2, 4, 4), ones, memory, place_of(box, (4, 4), (4, 4))[None])
    padded = recall_add_at(torch.zeros(1, 2, 7, 6), ones, memory, place_of(box, (4, 4), (7, 6))[None])
    torch.testing.assert_close(padded[..., :4, :4], bare)
    torch.testing.assert_close(padded[..., -1, -1], memory[..., -1, -1])


@pytest.mark.parametrize('training', [True, False])
def test_what_is_padded_lies_where_it_lay(training):
    sample = SegDataSample(metainfo=dict(scene_box=(0.0, 0.5, 0.5, 1.0)))
    preprocessor = SceneDataPreProcessor(size=(4, 3), test_cfg=dict(size=(4, 3)))
    place = preprocessor(dict(inputs=[torch.zeros(3, 2, 2)], data_samples=[sample]), training)['inputs'][0, 3:]
    assert place[0, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert place[1, 0].tolist() == [0.25, 0.75, 1.25]


def test_an_image_without_its_box_is_refused_in_a_training():
    data = dict(inputs=[torch.zeros(3, 2, 2)], data_samples=[SegDataSample()])
    with pytest.raises(UserError, match='SceneRandomCrop.*PackSceneInputs'):
        SceneDataPreProcessor(size=(2, 2))(data, training=True)


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Config:
    return load_config(write_config(tmp_path_factory.mktemp('scene'), extra=SCENE))


@pytest.fixture
def network(config):
    model = build_model(config)
    torch.nn.init.normal_(model.backbone.layer3.sr.memory)
    return model.eval()


def recalled(network, images: torch.Tensor, sample: SegDataSample | None = None, **test_cfg) -> list[torch.Tensor]:
    """What the block adds in each pass over an image (3, h, w)."""
    network.test_cfg = Config({'mode': 'whole', **test_cfg})
    added = []
    handle = network.backbone.layer3.sr.register_forward_hook(
        lambda block, args, output: added.append((output - args[0])[0].detach())
    )
    with torch.no_grad():
        sample = sample or SegDataSample(metainfo=dict(ori_shape=images.shape[1:], img_shape=images.shape[1:]))
        network.test_step(dict(inputs=[images], data_samples=[sample]))
    handle.remove()
    return added


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_a_window_recalls_what_the_whole_image_recalls_there(network):
    image = torch.randint(0, 256, (3, 96, 160), dtype=torch.uint8)
    stride = 16  # of layer3's map
    (whole,) = recalled(network, image)
    windows = recalled(network, image, mode='slide', crop_size=(64, 64), stride=(32, 48))
    corners = [(top, left) for top in (0, 32) for left in (0, 48, 96)]
    assert whole.shape[1:] == (6, 10)
    assert len(windows) == len(corners)
    for window, (top, left) in zip(windows, corners, strict=True):
        rows, columns = (slice(corner // stride, (corner + 64) // stride) for corner in (top, left))
        close(window, whole[:, rows, columns])


def test_a_flipped_view_recalls_the_mirrored_memory(network):
    image = torch.randint(0, 256, (3, 64, 128), dtype=torch.uint8)
    (straight,) = recalled(network, image)
    shape = dict(ori_shape=(64, 128), img_shape=(64, 128), flip=True, flip_direction='horizontal')
    (mirrored,) = recalled(network, image.flip(2), SegDataSample(metainfo=shape))
    close(mirrored.flip(2), straight)
    assert not torch.allclose(mirrored, straight)


def test_an_image_alone_shows_the_whole_scene(network):
    image = torch.randint(0, 256, (3, 64, 128), dtype=torch.uint8)
    (expected,) = recalled(network, image)
    added = []
    network.backbone.layer3.sr.register_forward_hook(lambda block, args, output: added.append((output - args[0])[0]))
    with torch.no_grad():
        network.backbone(network.data_preprocessor(dict(inputs=[image]))['inputs'][:, :3])
    close(added[0], expected)


def test_an_error_leaves_no_place_behind(network):
    def fail(*_):
        raise RuntimeError('in the middle')

    handle = network.backbone.layer4.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match='in the middle'):
        recalled(network, torch.zeros(3, 64, 64, dtype=torch.uint8))
    handle.remove()
    assert network.backbone.layer3.sr.place is None
    assert copy.deepcopy(network).backbone.layer3.sr.place is None


def test_an_image_without_a_place_is_refused_in_a_training(network):
    network.train()
    with pytest.raises(UserError, match='SceneDataPreProcessor'):
        network.backbone(torch.zeros(2, 3, 64, 64))


def test_a_switch_that_is_none_is_a_value_error(config):
    backbone = {key: value for key, value in config.model.backbone.items() if key != 'type'}
    with pytest.raises(ValueError, match="scene must be True or False, got 'yes'"):
        SRBackbone(**{**backbone, 'scene': 'yes'})


def test_compiled_it_computes_the_same(network):
    images = SceneDataPreProcessor()(dict(inputs=[torch.rand(3, 64, 64), torch.rand(3, 64, 64)]))['inputs']
    with torch.no_grad():
        expected = network.backbone(images)
        got = torch.compile(network.backbone, backend='aot_eager')(images)
    for each, wanted in zip(got, expected, strict=True):
        close(each, wanted)


def test_it_trains_with_workers_and_tests_in_every_way(config, tmp_path, monkeypatch):
    cfg = copy.deepcopy(config)
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.num_workers = 2
    launch.train(cfg)
    weights = torch.load(tmp_path / 'iter_4.pth', weights_only=False)['state_dict']
    assert weights['backbone.layer3.sr.memory'].any()
    assert not any('place' in key for key in weights)
    model = init_model(cfg, str(tmp_path / 'iter_4.pth'), device='cpu')
    result = inference_model(model, np.zeros((50, 70, 3), np.uint8))
    assert result.pred_sem_seg.shape == (50, 70)
