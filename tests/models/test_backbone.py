"""SRBackbone hands back the stock backbone with one block more: stock keys, stock options, stock predictions."""

import copy
import pickle

import pytest
import torch
from mmengine import ConfigDict
from mmengine.runner import save_checkpoint
from torch import nn
from trained_block import built

from mmseg_sr.models.backbone import SRBackbone, stage_channels

SMALL = dict(base_channels=8, stem_channels=8, norm_eval=False)
BACKBONES = {
    'ResNet': dict(type='ResNet', depth=18, **SMALL),
    'ResNetV1c': dict(type='ResNetV1c', depth=50, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), **SMALL),
    'ResNetV1d': dict(type='ResNetV1d', depth=50, **SMALL),
    'ResNeXt': dict(type='ResNeXt', depth=50, groups=4, base_width=4, **SMALL),
    'ResNeSt': dict(type='ResNeSt', depth=50, radix=2, reduction_factor=4, avg_down_stride=True, **SMALL),
    'MobileNetV2': dict(type='MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6)),
}
SR = dict(after='layer3', memory_size=(4, 6), num_memories=3, hidden_channels=4)


def evaluated(network):
    """Evaluation mode; ``train`` of mmseg's ResNet does not return the network."""
    network.eval()
    return network


def wrap(cfg, sr=SR, **options):
    return dict(type='SRBackbone', backbone=cfg, sr=sr, **options)


@pytest.mark.parametrize('cfg', BACKBONES.values(), ids=BACKBONES)
def test_every_backbone_with_sequential_stages_takes_a_block(cfg):
    stock, network = built(cfg), built(wrap(cfg))
    assert type(network) is type(stock)
    new = set(network.state_dict()) - set(stock.state_dict())
    assert new and all(key.startswith('layer3.sr.') for key in new)
    assert set(stock.state_dict()) <= set(network.state_dict())
    # The same seed gives the same stock weights: runs with and without the block are paired.
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in stock.state_dict().items())

    image = torch.randn(2, 3, 64, 96)
    for mode in (True, False):
        stock.train(mode), network.train(mode)
        pairs = zip(stock(image), network(image), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs), 'an untrained block is the identity'
    nn.init.normal_(network.layer3.sr.memory)
    assert not torch.equal(network(image)[-1], stock(image)[-1])


@pytest.mark.parametrize('cfg', BACKBONES.values(), ids=BACKBONES)
def test_no_enclosing_init_cfg_reaches_the_block(cfg):
    # Kaiming, the init_cfg of these backbones, is normal and without bound: this convolution would leave the range.
    network = built(wrap(cfg))
    squeeze = network.layer3.sr.squeeze
    bound = squeeze.in_channels**-0.5
    assert 0.5 * bound < squeeze.weight.abs().max() <= bound
    assert squeeze.bias.abs().item() > 0, 'Kaiming sets the bias to zero'


@pytest.mark.parametrize('cfg', BACKBONES.values(), ids=BACKBONES)
def test_a_block_starts_as_its_own_init_cfg_says(cfg):
    init_cfg = dict(type='Constant', val=0.25, layer='SRConv2d')
    assert built(wrap(cfg, sr=dict(SR, init_cfg=init_cfg))).layer3.sr.squeeze.weight.unique().tolist() == [0.25]


def test_looking_for_channels_leaves_no_trace():
    network = built(BACKBONES['ResNetV1c'] | dict(norm_eval=True))
    network.train()
    network.layer1[0].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    random_state = torch.get_rng_state()
    channels = stage_channels(network)
    assert channels == {'stem': 8, 'layer1': 32, 'layer2': 64, 'layer3': 128, 'layer4': 256}
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize('after', ['layer5', 'layer3.0', 3, None, 'layer3.0.downsample'])
def test_an_unknown_stage_is_an_error_that_lists_those_there_are(after):
    with pytest.raises(ValueError, match='stem, layer1, layer2, layer3, layer4') as error:
        built(wrap(BACKBONES['ResNetV1c'], sr=dict(SR, after=after)))
    assert repr(after) in str(error.value)


@pytest.mark.parametrize(
    ('name', 'place'), [('frozen_stages', 'backbone.backbone'), ('depth', 'backbone.backbone'), ('memory_size', 'sr')]
)
def test_an_option_in_the_wrong_place_is_told_its_own(name, place):
    with pytest.raises(ValueError, match=f'^SRBackbone has no option {name}: set {place}.{name}$'):
        SRBackbone(backbone=dict(type='ResNet', depth=18), sr=dict(after='layer3', memory_size=(2, 2)), **{name: 1})


def test_two_blocks_go_after_two_stages_but_not_after_one():
    network = built(wrap(BACKBONES['ResNet'], sr=[SR, dict(SR, after='layer4', num_memories=2)]))
    assert network.layer3.sr.memory.shape == (3, 32, 4, 6)
    assert network.layer4.sr.memory.shape == (2, 64, 4, 6)
    with pytest.raises(ValueError, match="two blocks after 'layer3'"):
        built(wrap(BACKBONES['ResNet'], sr=[SR, SR]))


def test_pretrained_weights_reach_the_backbone_and_the_block_stays_the_identity(tmp_path):
    stock = built(BACKBONES['ResNetV1c'], seed=5)
    path = str(tmp_path / 'stock.pth')
    save_checkpoint(dict(state_dict=stock.state_dict()), path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    image = torch.randn(1, 3, 64, 96)
    head = dict(type='FCNHead', in_channels=256, channels=8, num_convs=1, num_classes=3, norm_cfg=dict(type='BN'))
    segmentor = dict(type='EncoderDecoder', backbone=wrap(BACKBONES['ResNetV1c']), decode_head=head, pretrained=path)
    catalogue = dict(sr=dict(SR, type='SRBlock'))
    inserted = dict(type='InsertedBackbone', backbone=BACKBONES['ResNetV1c'], insert=catalogue, use=['sr'])
    networks = {
        'outer init_cfg': built(wrap(BACKBONES['ResNetV1c'], init_cfg=init_cfg)),
        'inner init_cfg': built(wrap(dict(BACKBONES['ResNetV1c'], init_cfg=init_cfg))),
        'pretrained': built(wrap(BACKBONES['ResNetV1c'], pretrained=path)),
        'segmentor': built(ConfigDict(segmentor)).backbone,
        'inserted, init_cfg': built(dict(inserted, init_cfg=init_cfg)),
        'inserted, segmentor': built(ConfigDict(segmentor, backbone=inserted)).backbone,
    }
    for way, network in networks.items():
        assert torch.equal(evaluated(network)(image)[-1], evaluated(stock)(image)[-1]), way
        assert 0 < network.layer3.sr.squeeze.weight.abs().max() <= 128**-0.5, way
    with pytest.raises(ValueError, match='init_cfg is given twice'):
        built(wrap(dict(BACKBONES['ResNetV1c'], init_cfg=init_cfg), init_cfg=init_cfg))


@pytest.mark.parametrize('kind', ['ResNet', 'MobileNetV2'])
@pytest.mark.parametrize('copier', [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_is_independent_of_the_first(kind, copier):
    network = built(wrap(BACKBONES[kind]))
    twin = copier(network)
    nn.init.normal_(network.layer3.sr.memory)
    assert torch.count_nonzero(twin.layer3.sr.memory) == 0
    twin.layer3.sr.reset_parameters()
    assert torch.count_nonzero(network.layer3.sr.memory) > 0


def test_options_of_the_stock_backbone_work_as_ever():
    network = built(wrap(BACKBONES['ResNet'] | dict(out_indices=(1, 2), frozen_stages=1, norm_eval=True)))
    network.train()
    assert [each.shape[1] for each in network(torch.randn(1, 3, 64, 64))] == [16, 32]
    assert not any(parameter.requires_grad for parameter in network.layer1.parameters())
    assert all(parameter.requires_grad for parameter in network.layer3.sr.parameters())
    assert not any(module.training for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    narrow = built(wrap(BACKBONES['ResNet'] | dict(in_channels=1)))
    assert narrow(torch.randn(1, 1, 64, 64))[-1].shape[1] == 64
