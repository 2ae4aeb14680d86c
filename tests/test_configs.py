"""Every config is the paper's protocol, to the value, and a leaf states its difference only."""

import ast
import math
from pathlib import Path

import pytest
import torch
import yaml
from mmengine import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
ALL = sorted(path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_')
LEAVES = [path for path in ALL if path.parent.name != 'classification']  # which has tests of its own
CITYSCAPES = [path for path in LEAVES if '_cityscapes-512x1024' in path.name]
FCN = 'fcn/fcn-d6_r50-d16{}_4xb2-80k_cityscapes-512x1024.py'
DEEPLAB = 'deeplabv3/deeplabv3_r50-d8{}_4xb2-80k_cityscapes-512x1024.py'


def load(name) -> Config:
    return Config.fromfile(CONFIGS / name)


def build(name, **sr) -> nn.Module:
    """The network of a config, or of one with other options of its block: its shapes, without numbers."""
    cfg = load(name)
    cfg.model.pretrained = None
    if sr:
        cfg.model.backbone.sr.update(sr)
    init_default_scope('mmseg')
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def overhead(name: str, variant: str, **sr) -> tuple[float, int]:
    """Parameters of the blocks, in percent of the baseline's and in numbers; the auxiliary head counts."""
    base = sum(p.numel() for p in build(name.format('')).parameters())
    model = build(name.format(variant), **sr)
    added = sum(p.numel() for key, p in model.named_parameters() if '.sr.' in key)
    assert sum(p.numel() for p in model.parameters()) == base + added
    return 100 * added / base, added


def test_the_configs_of_the_readme_are_there():
    variants = ['', '-sr', '-sr-layer2', '-sr-rank16', '-sr-slide', '-sr-small', '-sr-static']
    assert {path.relative_to(CONFIGS).as_posix() for path in CITYSCAPES} == {
        name.format(variant) for name in (FCN, DEEPLAB) for variant in variants
    }
    assert len(LEAVES) > len(CITYSCAPES)


@pytest.mark.parametrize(
    ('name', 'percent', 'equation', 'biases'),
    [(FCN, 12.845, 6_358_112, 1 + 32 + 3), (DEEPLAB, 24.825, 16_909_344, 1 + 16 + 2)],
    ids=['FCN', 'DeepLabV3'],
)
def test_the_parameter_overhead_is_the_papers_to_three_decimals(name, percent, equation, biases):
    measured, added = overhead(name, '-sr')
    assert round(measured, 3) == percent
    assert added == equation + biases
    assert round(100 * equation / (100 * added / measured), 3) == percent, 'with or without the biases'


SCENE = dict(memory_size=(12, 16), num_memories=2)


@pytest.mark.parametrize('name', [FCN, DEEPLAB], ids=['FCN', 'DeepLabV3'])
@pytest.mark.parametrize(('variant', 'sr'), [('-sr-small', {}), ('-sr-rank16', {}), ('-sr', SCENE)])
def test_the_smaller_memories_and_that_of_the_scene_in_the_docs_cost_less_than_one_percent(name, variant, sr):
    assert 'scene=True, sr=dict(memory_size=(12, 16), num_memories=2)' in (ROOT / 'docs/scene.md').read_text()
    assert overhead(name, variant, **sr)[0] < 1


@pytest.mark.parametrize(
    ('name', 'num_memories', 'hidden', 'size'), [(FCN, 3, 32, (32, 64)), (DEEPLAB, 2, 16, (64, 128))]
)
@pytest.mark.parametrize('variant', ['-sr', '-sr-slide', '-sr-layer2'])
def test_the_block_is_where_the_name_says_and_as_large_as_the_map_of_a_training_crop(
    name, variant, num_memories, hidden, size
):
    after, size = ('layer2', (64, 128)) if variant == '-sr-layer2' else ('layer3', size)
    backbone = build(name.format(variant)).backbone
    ((place, block),) = [(key, module) for key, module in backbone.named_modules() if key.endswith('.sr')]
    assert place == f'{after}.sr' and block.resize == (variant != '-sr-slide')
    assert (block.num_memories, block.hidden_channels, block.memory_size) == (num_memories, hidden, size)
    sizes = []
    block.register_forward_pre_hook(lambda module, args: sizes.append(args[0].shape[-2:]))
    backbone(torch.zeros(1, 3, 512, 1024, device='meta'))
    assert sizes == [size]


@pytest.mark.parametrize('path', CITYSCAPES, ids=lambda path: path.stem)
def test_training_follows_the_paper(path):
    cfg = load(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'SGD'
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 5e-4)
    (schedule,) = cfg.param_scheduler
    assert (schedule.type, schedule.power, schedule.eta_min, schedule.end) == ('PolyLR', 0.9, 1e-4, 80_000)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (80_000, 8_000)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.save_best, checkpoint.by_epoch) == (8_000, 'mIoU', False)
    assert cfg.train_dataloader.batch_size == 2, '4 GPUs with 2 images: batch 8'
    steps = [step['type'] for step in cfg.train_dataloader.dataset.pipeline]
    augmentations = ['RandomResize', 'RandomCrop', 'RandomFlip', 'PhotoMetricDistortion']
    assert steps == ['LoadImageFromFile', 'LoadAnnotations', *augmentations, 'PackSegInputs']
    resize, crop, flip = (cfg.train_dataloader.dataset.pipeline[index] for index in (2, 3, 4))
    assert (resize.scale, resize.ratio_range, crop.crop_size, flip.prob) == ((2048, 1024), (0.5, 2.0), (512, 1024), 0.5)
    assert cfg.data_preprocessor.pad_val == 0 and cfg.data_preprocessor.seg_pad_val == 255
    assert cfg.model.data_preprocessor['size'] == (512, 1024)


@pytest.mark.parametrize('path', CITYSCAPES, ids=lambda path: path.stem)
def test_the_networks_are_the_papers(path):
    cfg = load(path)
    backbone = cfg.model.backbone.get('backbone', cfg.model.backbone)
    assert (backbone.type, backbone.depth, cfg.model.pretrained) == ('ResNetV1c', 50, 'open-mmlab://resnet50_v1c')
    assert backbone.norm_cfg.type == cfg.model.decode_head.norm_cfg.type == 'SyncBN'
    head, auxiliary = cfg.model.decode_head, cfg.model.auxiliary_head
    assert (head.dropout_ratio, head.num_classes) == (0.1, 19)
    assert (auxiliary.type, auxiliary.in_index, auxiliary.loss_decode.loss_weight) == ('FCNHead', 2, 0.4)
    if path.name.startswith('fcn-d6'):
        assert (head.type, head.dilation) == ('FCNHead', 6)
        assert (backbone.strides, backbone.dilations) == ((1, 2, 2, 1), (1, 1, 1, 2))
    else:
        assert (head.type, head.dilations, backbone.strides) == ('ASPPHead', (1, 12, 24, 36), (1, 2, 1, 1))


@pytest.mark.parametrize('path', CITYSCAPES, ids=lambda path: path.stem)
def test_testing_follows_the_paper(path):
    cfg = load(path)
    assert cfg.tta_model.type == 'SegTTAModel'
    scales, flips, *_ = cfg.tta_pipeline[1].transforms
    assert [step.scale_factor for step in scales] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert [(step.prob, step.direction) for step in flips] == [(0.0, 'horizontal'), (1.0, 'horizontal')]
    assert cfg.test_evaluator.type == cfg.val_evaluator.type == 'ClassIoUMetric'
    assert cfg.test_evaluator.iou_metrics == ['mIoU']
    # inference_model and MMSegInferencer read the pipeline at the top level.
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    if '-slide_' in path.name:
        assert cfg.model.test_cfg == dict(mode='slide', crop_size=(512, 1024), stride=(256, 512))
    else:
        assert cfg.model.test_cfg == dict(mode='whole')


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_a_pair_differs_in_the_block_only(path):
    cfg = load(path)
    if '-sr' not in path.name:
        assert 'SRBackbone' not in cfg.pretty_text
        return
    base = load(path.parent / f'{path.name.split("-sr")[0]}_{path.name.split("_", 2)[2]}').to_dict()
    ours = cfg.to_dict()
    wrapper = ours['model'].pop('backbone')
    assert wrapper['type'] == 'SRBackbone' and wrapper['backbone'] == base['model'].pop('backbone')
    ours.pop('sr')
    if '-slide' in path.name:
        ours['model'].pop('test_cfg'), base['model'].pop('test_cfg')
    if '-memory-only' in path.name:
        assert ours.pop('custom_hooks') == [dict(type='SROnlyHook')] and ours.pop('load_from')
        base.pop('load_from')
    if '-scene-' in path.name:  # its steps and preprocessor do what the stock ones do, and keep the place
        stock = {**{new: old for old, new in ours.pop('ours').items()}, 'SceneDataPreProcessor': 'SegDataPreProcessor'}
        assert wrapper['scene'] is True
        ours = with_types(ours, stock)
    assert ours == base


def with_types(node: object, names: dict[str, str]) -> object:
    """A config with other names for some types."""
    if isinstance(node, dict):
        named = {'type': names.get(node['type'], node['type'])} if 'type' in node else {}
        return {**{key: with_types(value, names) for key, value in node.items()}, **named}
    return [with_types(each, names) for each in node] if isinstance(node, list) else node


@pytest.mark.parametrize('path', ALL, ids=lambda path: path.stem)
def test_a_leaf_is_short_and_its_own(path):
    tree = ast.parse(path.read_text())
    names = [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)]
    own = {'ours', 'train_pipeline', 'train_dataloader'} if '-scene-' in path.name else set()
    assert names[0] == '_base_' and set(names) <= {'_base_', 'sr', 'model', 'load_from', 'custom_hooks', *own}
    assert len(path.read_text().splitlines()) <= 15
    assert 'mmseg::' not in path.read_text(), "stock configs cannot be found by name in every version's package"


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_config_builds_and_its_memory_fits_its_name(path):
    model = build(path)
    cfg = load(path)
    assert cfg.custom_imports == dict(imports=['mmseg_sr'])
    blocks = [module for key, module in model.named_modules() if key.endswith('.sr')]
    assert len(blocks) == ('-sr' in path.name)
    crop = cfg.model.data_preprocessor['size']
    assert path.stem.endswith('x'.join(map(str, crop)))
    for block in blocks:
        stride = 8 if block.in_channels == 512 or '-d8' in path.name else 16
        # A memory of the scene covers the whole image, whatever its size.
        full = (12, 16) if '-scene-' in path.name else tuple(math.ceil(side / stride) for side in crop)
        small = (5, 5) if 'camvid' in path.name else (8, 16)
        assert block.memory_size == (small if '-small' in path.name else full)
        assert (block.num_memories == 1) == ('-static' in path.name)
        assert block.memory_rank == (16 if '-rank16' in path.name else None)


def test_the_model_index_names_every_cityscapes_config_and_no_result_that_was_not_measured():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index['Import']
    models = []
    for name in index['Import']:
        metafile = yaml.safe_load((ROOT / name).read_text())
        assert {collection['Name'] for collection in metafile['Collections']}
        models += metafile['Models']
    assert {model['Config'] for model in models} == {path.relative_to(ROOT).as_posix() for path in ALL}
    for model in models:
        assert model['Name'] == Path(model['Config']).stem
        for result in model.get('Results', []):
            source = ROOT / result['Source']
            assert source.is_file(), 'a result names the file that a command wrote'
        assert 'Weights' not in model or (ROOT / model['Weights'].removeprefix('mmseg_sr://')).is_file()
