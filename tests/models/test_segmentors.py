"""Any segmentor: mmseg's own networks with the lines of the docs start as the stock ones, train, and predict."""

import copy
import json

import pytest
import segmentors  # of benchmarks/
import torch
from in_process import ROOT
from mmengine.model import BaseModule, Sequential
from mmseg.registry import MODELS
from torch import nn
from trained_block import built

from mmseg_sr.cost.workload import Drill
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.runs.models import build_model

SIZE = (64, 64)


def stock_config(cfg):
    """The same config without the block."""
    cfg = copy.deepcopy(cfg)
    if cfg.model.backbone.type == 'SRBackbone':
        cfg.model.backbone = cfg.model.backbone.backbone
    else:
        cfg.model.pop('neck')
    return cfg


def check(cfg, places):
    """Train a network with blocks at ``places`` for two steps, from a stock network's weights."""
    cfg.pop('optim_wrapper', None)
    stock, model = build_model(stock_config(cfg)).eval(), build_model(cfg).eval()
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected and {key.split('.sr.')[0] for key in missing} == {place.split('.sr')[0] for place in places}
    assert all('.sr.' in key for key in missing) and list(sr_blocks(model)) == places
    size = cfg.model.data_preprocessor.size
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        assert torch.equal(model(image), stock(image)), 'an untrained block is the identity'

    drill = Drill(model, cfg, size, batch=2)
    for group in drill.optim_wrapper.param_groups:
        group['lr'] = 0.01
    gradients = {}
    for name, weight in model.named_parameters():
        if '.sr.' in name:
            weight.register_hook(lambda gradient, name=name: gradients.update({name: gradient.abs().amax()}))
    for _ in range(2):
        drill.train()
    for place, block in sr_blocks(model).items():
        # The gate learns from the second step on: at first the memories that it weighs are zero.
        learning = {name for name, _ in block.named_parameters() if gradients[f'{place}.{name}'] > 0}
        assert learning == {name for name, _ in block.named_parameters()}
        assert block.memory.abs().amax() > 0, place
    drill.predict()
    with torch.no_grad():
        logits = model.eval()(image)
        assert logits.isfinite().all()
        for place, block in sr_blocks(model).items():
            learned = block.memory.clone()
            nn.init.normal_(block.memory, std=1e4)
            assert not torch.equal(model(image), logits), f'the memory of {place} takes part'
            block.memory.copy_(learned)


@pytest.mark.parametrize('name', segmentors.NETWORKS)
def test_mmsegs_networks_take_a_block_train_and_predict(name):
    network = segmentors.NETWORKS[name]
    if not network.installed():
        pytest.skip(f'{", ".join(network.needs)} is not installed')
    cfg, _ = segmentors.load(network, (network.least, network.least))
    check(cfg, [f'neck.sr.{place}' if network.channels else f'backbone.{place}.sr' for place in network.places])


def wrap(cfg, backbone, channels, **sr):
    """A stock PSPNet's config with another backbone, and a block in it."""
    cfg.model.backbone = dict(
        type='SRBackbone', backbone=backbone, sr=dict(sr, memory_size=(4, 4), num_memories=3, hidden_channels=4)
    )
    cfg.model.decode_head.in_channels, cfg.model.decode_head.channels = channels[3], 16
    cfg.model.auxiliary_head.in_channels, cfg.model.auxiliary_head.channels = channels[2], 16
    return cfg


@pytest.fixture
def pspnet():
    return segmentors.load(segmentors.NETWORKS['PSPNet R50-D8'], SIZE)[0]


class Staged(BaseModule):
    """The layout of mmpretrain's ConvNeXt: lists of ``Sequential``, and a norm of its own for each map given out."""

    def __init__(self, channels=(8, 16, 24, 32), init_cfg=None):
        super().__init__(init_cfg)
        entering = zip((3, *channels), channels, (4, 2, 2, 2), strict=False)
        self.downsample_layers = nn.ModuleList(Sequential(nn.Conv2d(a, b, s, s)) for a, b, s in entering)
        self.stages = nn.ModuleList(
            Sequential(*(nn.Sequential(nn.Conv2d(c, c, 3, padding=1, groups=c), nn.GELU()) for _ in range(2)))
            for c in channels
        )
        for index, count in enumerate(channels):
            self.add_module(f'norm{index}', nn.GroupNorm(1, count))

    def forward(self, x):
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(self.downsample_layers[index](x))
            maps.append(getattr(self, f'norm{index}')(x))
        return tuple(maps)


@pytest.fixture
def staged():
    MODELS.register_module(module=Staged)
    yield dict(type='Staged')
    MODELS.module_dict.pop('Staged')


def test_a_registered_backbone_with_the_layout_of_convnext_takes_a_block(pspnet, staged):
    check(wrap(pspnet, staged, (8, 16, 24, 32), after='stages.2'), ['backbone.stages.2.sr'])


def test_a_timm_backbone_takes_a_block(pspnet):
    pytest.importorskip('timm', exc_type=ImportError)
    resnet = dict(type='TIMMBackbone', model_name='resnet18', pretrained=False, out_indices=(1, 2, 3, 4))
    cfg = wrap(pspnet, resnet, (64, 128, 256, 512), after='timm_model.layer3')
    check(cfg, ['backbone.timm_model.layer3.sr'])


BEIT = dict(type='BEiT', img_size=(32, 32), patch_size=16, embed_dims=16, num_layers=1, num_heads=2, out_indices=[0])
REFUSED = {
    'a backbone whose stages are no nn.Sequential': (
        dict(type='MobileNetV3', arch='small', out_indices=(0, 1, 12)), 'layer3', 'MobileNetV3 .*none; use SRNeck'),
    'stages that give out lists': (
        segmentors.load(segmentors.NETWORKS['FCN HR18 (HRNet)'])[0].model.backbone, 'stage3',
        "after='stage3'.*These can: layer1.*SRNeck"),
    'a backbone of one list of stages': (
        dict(type='SwinTransformer', embed_dims=8, depths=(1, 1), num_heads=(1, 1), strides=(4, 2), out_indices=(0, 1)),
        'stages.0', 'none; use SRNeck'),
    'a stage within a list': (
        segmentors.load(segmentors.NETWORKS['SegFormer MiT-B0'])[0].model.backbone, 'layers.2', 'SRNeck takes any map'),
    'a stage of the inner backbone': (
        segmentors.load(segmentors.NETWORKS['STDC1'])[0].model.backbone.backbone, 'stages.4', r'backbone\.stages\.4'),
    'a stage that is called otherwise': (
        segmentors.load(segmentors.NETWORKS['BiSeNetV2'])[0].model.backbone.backbone, 'stage4', r'semantic\.stage4'),
    'a pooled map of one cell': (
        segmentors.load(segmentors.NETWORKS['BiSeNetV2'])[0].model.backbone.backbone, 'semantic.stage4_CEBlock.gap',
        'no stage'),
    'a backbone for images of one size': (BEIT, 'layers.0', 'BEiT cannot run on an image of .*SRNeck'),
}  # fmt: skip


@pytest.mark.parametrize(('backbone', 'after', 'message'), REFUSED.values(), ids=REFUSED)
def test_what_cannot_take_a_block_says_so_and_what_can(backbone, after, message):
    with pytest.raises(ValueError, match=message):
        built(dict(type='SRBackbone', backbone=backbone, sr=dict(after=after, memory_size=(4, 4))))


def test_the_page_shows_what_was_measured():
    rows = json.loads((ROOT / 'results/segmentors.json').read_text())['rows']
    assert [row['network'] for row in rows] == list(segmentors.NETWORKS)
    page = (ROOT / 'docs/segmentors.md').read_text()
    for row in rows:
        network = segmentors.NETWORKS[row['network']]
        memories = [shape[2:] for shape in row['places'].values()]
        crop = [side * stride for side, stride in zip(memories[0], 2 * [*network.places.values()][:1], strict=True)]
        assert row['lines'] == network.lines(crop) and row['lines'] in page, 'the lines of the page are those tested'
