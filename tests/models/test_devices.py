"""The block asks no more of a device than the stock layers do: it runs where there are shapes only, and no numbers."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn
from torch._subclasses import FakeTensorMode

from mmseg_sr import SRBlock
from mmseg_sr.config import load_config, prepare

ROWS = [
    'fcn/fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py',
    'deeplabv3/deeplabv3_r50-d8-sr_4xb2-80k_cityscapes-512x1024.py',
]


def train_on_shapes(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run forward and backward; return the output."""
    out = block(x)
    out.sum().backward()
    assert x.grad.shape == x.shape and x.grad.dtype == x.dtype
    for parameter in block.parameters():
        assert parameter.grad.shape == parameter.shape and parameter.grad.dtype == parameter.dtype
    return out


@pytest.fixture
def default_dtype():
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.mark.parametrize('size', [(4, 5), (9, 3)])
@pytest.mark.parametrize('rank', [None, 2])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('where', ['moved to meta', 'built on meta', 'fake'])
def test_a_block_runs_forward_and_backward_without_numbers(where, dtype, rank, size, default_dtype):
    default_dtype(dtype)
    with FakeTensorMode() if where == 'fake' else torch.device('meta' if where == 'built on meta' else 'cpu'):
        block = SRBlock(6, (4, 5), 3, memory_rank=rank)
        block = block if where == 'fake' else block.to(dtype)  # Module.to does not know fake tensors
        x = torch.randn(2, 6, *size, dtype=dtype)
        if where == 'moved to meta':
            block, x = block.to('meta'), x.to('meta')
        out = train_on_shapes(block, x.requires_grad_())
    assert out.shape == (2, 6, *size) and out.dtype == dtype
    assert out.device.type == ('cpu' if where == 'fake' else 'meta')


@pytest.mark.parametrize('size', [(4, 5), (9, 3)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_under_autocast_too(dtype, size):
    with FakeTensorMode(), torch.autocast('cpu', dtype=torch.bfloat16):
        out = train_on_shapes(SRBlock(6, (4, 5), 3), torch.randn(2, 6, *size, dtype=dtype).requires_grad_())
    assert out.dtype == dtype


@pytest.mark.parametrize('image', [(512, 1024), (1024, 2048)])
@pytest.mark.parametrize('row', ROWS)
def test_both_cityscapes_networks_give_maps_of_the_image_s_shape(row, image, root):
    cfg = prepare(load_config(root / 'configs' / row, {'model.pretrained': None}))
    with DefaultScope.overwrite_default_scope('mmseg'), torch.device('meta'):
        model = MODELS.build(cfg.model).eval()
        stride = 16 if row.startswith('fcn') else 8
        shapes = []
        model.backbone.layer3.sr.register_forward_hook(
            lambda block, args, out: shapes.append((args[0].shape, out.shape))
        )
        logits = model(torch.randn(2, 3, *image), mode='tensor')
    here = (2, 1024, image[0] // stride, image[1] // stride)
    assert shapes == [(here, here)]
    assert logits.shape == (2, 19, image[0] // 8, image[1] // 8) or logits.shape == (2, 19, *here[2:])
