"""Modules go behind named modules of a stock backbone, run once a pass, and change no stock weight."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn
from trained_block import built

import mmseg_sr  # noqa: F401
from mmseg_sr.cost.count import without_blocks

RESNET = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'), zero_init_residual=False)
CATALOGUE = dict(
    D2D=dict(type='torch.nn.Dropout2d', p=0.5, after=r'layer[34]'),
    SE=dict(type='SEBlock', ratio=4, after=r'layer\d\.\d\.bn2'),
    CBAM=dict(type='CBAMBlock', kernel_size=3, after='layer1'),
    SR4=dict(type='SRBlock', memory_size=(2, 4), hidden_channels=4, after='layer4'),
)


def build(*use, insert=CATALOGUE, seed=0, **backbone) -> nn.Module:
    cfg = dict(type='InsertedBackbone', backbone={**RESNET, **backbone}, insert=insert, use=list(use))
    return built(cfg, seed)


def test_modules_go_where_name_or_pattern_says_in_the_order_of_use():
    network = build('SR4', 'D2D', 'SE')
    places = {
        name: type(module).__name__ for name, module in network.named_modules() if name.split('.')[-1] in CATALOGUE
    }
    blocks = {f'layer{stage}.{block}.bn2.SE': 'SEBlock' for stage in range(1, 5) for block in range(2)}
    assert places == blocks | {'layer3.D2D': 'Dropout2d', 'layer4.SR4': 'SRBlock', 'layer4.D2D': 'Dropout2d'}
    assert [name for name, _ in network.layer4.named_children()] == ['0', '1', 'SR4', 'D2D']
    assert network.layer4.SR4.in_channels == 64 and network.layer1[0].bn2.SE.excite[0].in_channels == 8


def test_every_stock_weight_keeps_its_name_and_starts_the_same_from_one_seed():
    stock, state = build().state_dict(), torch.get_rng_state()
    for use in (['SE', 'SR4'], ['CBAM', 'D2D']):
        ours = build(*use).state_dict()
        assert torch.equal(torch.get_rng_state(), state), 'the data that follow are the same too'
        assert all(set(key.split('.')) & {*use} for key in ours.keys() - stock.keys())
        assert all(torch.equal(ours[key], value) for key, value in stock.items())
    assert type(build()).__name__ == 'ResNet' and build().state_dict().keys() == stock.keys()


def test_a_module_that_draws_weights_of_its_own_draws_them_apart():
    states = []
    conv = dict(type='torch.nn.Conv2d', out_channels=64, kernel_size=1, after='layer4')
    for use in ([], ['CONV']):
        torch.manual_seed(0)
        network = MODELS.build(dict(type='InsertedBackbone', backbone=RESNET, insert=dict(CONV=conv), use=use))
        states.append(torch.get_rng_state())
    assert torch.equal(*states) and network.layer4.CONV.in_channels == 64


def test_a_pass_is_that_of_a_network_rewired_by_hand():
    network = build('CBAM', 'SE', 'SR4')
    network.eval()  # which returns None there
    nn.init.normal_(network.layer4.SR4.memory)
    by_hand = copy.deepcopy(network)
    for stage in ('layer1', 'layer2', 'layer3', 'layer4'):
        for block in (getattr(by_hand, stage)[index] for index in range(2)):
            norm = nn.BatchNorm2d(block.bn2.num_features).eval()
            norm.load_state_dict({key: value for key, value in block.bn2.state_dict().items() if 'SE' not in key})
            block.bn2 = nn.Sequential(norm, block.bn2.SE)
    images = torch.randn(2, 3, 64, 128)
    assert all(torch.equal(*pair) for pair in zip(network(images), by_hand(images), strict=True))
    by_hand.layer1[0].bn2[1].excite[0].weight.data.neg_()
    assert not torch.equal(network(images)[0], by_hand(images)[0])


def test_each_module_runs_once_a_pass_in_a_copy_too_and_can_be_taken_out():
    network = copy.deepcopy(build('SE', 'D2D', 'SR4'))
    counts = []
    for name, module in network.named_modules():
        if name.split('.')[-1] in CATALOGUE:
            module.register_forward_hook(lambda *_, name=name: counts.append(name))
    network(torch.randn(1, 3, 64, 128))
    assert len(counts) == len(set(counts)) == 11
    del network.layer1[0].bn2.SE
    counts.clear()
    without_blocks(network)(torch.randn(1, 3, 64, 128))
    assert len(counts) == 9


def test_a_module_in_a_frozen_stage_is_frozen_with_it():
    network = build('SE', frozen_stages=1)
    assert not network.layer1[0].bn2.SE.excite[0].weight.requires_grad
    assert network.layer2[0].bn2.SE.excite[0].weight.requires_grad


@pytest.mark.parametrize('scope', ['mmseg', 'mmengine', 'mmseg_sr'])
@pytest.mark.parametrize('name', ['SRBackbone', 'mmseg.SRBackbone', 'InsertedBackbone', 'mmseg.InsertedBackbone'])
def test_the_backbones_are_known_in_every_scope(scope, name):
    given = dict(insert=CATALOGUE) if 'Inserted' in name else dict(sr=dict(after='layer3', memory_size=(2, 2)))
    with DefaultScope.overwrite_default_scope(scope):
        assert MODELS.build(dict(type=name, backbone=dict(RESNET, type='mmseg.ResNet'), **given))


@pytest.mark.parametrize(
    ('changed', 'said'),
    [
        (dict(after='layer5'), 'ResNet has no module that after='),
        (dict(after='layer['), 'is no name and no regular expression'),
        (dict(after=3), 'is no name and no regular expression'),
        (dict(after='layer1.0.relu'), 'runs 2 times in a pass'),
        (dict(in_channels=3), 'in_channels=3, and the maps there have 64: leave it out'),
        (dict(type='NoSuchBlock'), 'cannot build'),
        (dict(num_memory=3), 'cannot build'),
        (dict(memory_size=(0, 4)), 'the height in memory_size must be a positive integer, got 0'),
    ],
)
def test_what_cannot_go_in_is_refused_with_the_value(changed, said):
    with pytest.raises(ValueError, match=said):
        build('SR4', insert=dict(SR4={**CATALOGUE['SR4'], **changed}))


@pytest.mark.parametrize(
    ('use', 'insert', 'said'),
    [
        (['SR9'], CATALOGUE, r"use must name each of D2D, .*, got \['SR9'\]"),
        (['SE', 'SE'], CATALOGUE, 'at most once'),
        (['SE'], [1], 'insert must be configs by name'),
        (['conv1'], dict(conv1=dict(type='SEBlock', after='layer1.0')), "BasicBlock has a 'conv1' already"),
        (['a.b'], {'a.b': dict(type='SEBlock', after='layer1')}, 'letters, digits and _ only'),
        (['SE'], dict(SE=dict(after='layer1')), r'insert.SE must be a config'),
    ],
)
def test_a_wrong_list_or_catalogue_is_refused(use, insert, said):
    with pytest.raises(ValueError, match=said):
        build(*use, insert=insert)


def test_a_module_starts_as_its_own_init_cfg_says():
    init = dict(type='Constant', val=0.25, layer='SRConv2d')
    network = build('SE', insert=dict(SE={**CATALOGUE['SE'], 'init_cfg': init}))
    assert network.layer1[0].bn2.SE.excite[0].weight.unique().tolist() == [0.25]


@pytest.mark.parametrize(
    ('changed', 'said'),
    [
        (dict(norm_cfg=dict(type='SyncBN')), 'layer1.0.bn2 is a SyncBN'),
        (dict(zero_init_residual=True), 'residual=False'),
    ],
)
def test_a_norm_that_is_replaced_or_set_to_zero_with_all_that_is_in_it_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        build('SE', **changed)
