"""SRNeck adds a block between a stock backbone and a stock head, and keeps stock checkpoints loadable."""

import re

import pytest
import torch
from in_process import ROOT, command
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from tiny_config import write_config
from trained_block import built

import mmseg_sr  # noqa: F401

SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=3)
CHANNELS = [8, 16, 32, 64]
BLOCK = dict(in_index=2, memory_size=(4, 6), num_memories=3)
HEAD = dict(num_classes=5, channels=8, norm_cfg=dict(type='BN'), dropout_ratio=0.1)
UPER = dict(type='UPerHead', in_channels=CHANNELS, in_index=[0, 1, 2, 3], pool_scales=(1, 2), **HEAD)
FPN = dict(type='FPN', in_channels=CHANNELS, out_channels=8, num_outs=4)
FPN_HEAD = dict(type='FPNHead', in_channels=[8] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], **HEAD)


def build(neck, head):
    return built(dict(type='EncoderDecoder', backbone=SWIN, neck=neck, decode_head=head, test_cfg=dict(mode='whole')))


@pytest.mark.parametrize(('stock', 'head'), [(None, UPER), (FPN, FPN_HEAD)], ids=['UPerHead', 'FPN'])
def test_a_stock_checkpoint_loads_with_only_sr_missing_and_predicts_the_same(stock, head):
    plain, with_sr = build(stock, head), build(dict(type='SRNeck', in_channels=CHANNELS, sr=BLOCK, neck=stock), head)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    missing, unexpected = with_sr.load_state_dict(plain.state_dict(), strict=False)
    assert missing and all(key.startswith('neck.sr.2.') for key in missing)
    assert not unexpected
    image = torch.randn(1, 3, 96, 128)
    assert torch.equal(with_sr.eval()(image), plain.eval()(image))


@pytest.mark.parametrize(('stock', 'head'), [(None, UPER), (FPN, FPN_HEAD)], ids=['UPerHead', 'FPN'])
def test_its_own_checkpoint_comes_back_and_its_memory_changes_the_prediction(stock, head):
    neck = dict(type='SRNeck', in_channels=CHANNELS, sr=BLOCK, neck=stock)
    first, second = build(neck, head).eval(), build(neck, head).eval()
    image = torch.randn(1, 3, 96, 128)
    before = first(image)
    torch.nn.init.normal_(first.neck.sr['2'].memory)
    assert not torch.equal(first(image), before)
    load_state_dict(second, first.state_dict(), strict=True)
    assert torch.equal(second(image), first(image))


UNREAD = """
model['neck'] = dict(type='SRNeck', in_channels=[8, 16, 32, 64], sr=dict(in_index=1, memory_size=(2, 2)))
train_cfg['max_iters'] = 2
"""


def test_a_block_that_no_head_reads_is_named(tmp_path, call):
    story = 'neck.sr.1: the loss does not depend on it, so it learns nothing. No head reads its map'
    config = write_config(tmp_path, extra=UNREAD)
    done = call('train', config)
    assert done.status == 0 and done.out.count(story) == 1
    read = write_config(tmp_path, 'read.py', UNREAD.replace('in_index=1', 'in_index=2'))
    assert story not in call('train', read).out
    done = command(ROOT / 'tools/dist_train.sh', config, 2, cwd=tmp_path)
    assert re.findall('^error: .*', done.err, re.M) == [f'error: {story}'] and 'Expected to have fin' not in done.err


def test_only_the_chosen_maps_are_changed():
    neck = MODELS.build(dict(type='SRNeck', in_channels=CHANNELS, sr=[BLOCK, dict(in_index=0, memory_size=(8, 8))]))
    for block in neck.sr.values():
        torch.nn.init.normal_(block.memory)
    maps = [torch.randn(2, channels, 8, 8) for channels in CHANNELS]
    changed = [not torch.equal(before, after) for before, after in zip(maps, neck(maps), strict=True)]
    assert changed == [True, False, True, False]


@pytest.mark.parametrize(
    ('maps', 'given'),
    [
        ([torch.zeros(1, 8, 4, 4)] * 4, r'\[8, 8, 8, 8\]'),
        ([torch.zeros(1, 8, 4, 4)], r'\[8\]'),
        ([(torch.zeros(1, 8, 4, 4), torch.zeros(1, 8))], r"\['tuple'\]"),
    ],
)
def test_other_maps_than_were_said_are_a_value_error(maps, given):
    neck = MODELS.build(dict(type='SRNeck', in_channels=CHANNELS, sr=BLOCK))
    with pytest.raises(ValueError, match=rf'in_channels=\[8, 16, 32, 64\], and the backbone gives out {given}'):
        neck(maps)


def test_two_blocks_in_one_place_are_a_value_error():
    with pytest.raises(ValueError, match='two blocks with in_index=2'):
        MODELS.build(dict(type='SRNeck', in_channels=CHANNELS, sr=[BLOCK, BLOCK]))
