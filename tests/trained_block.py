"""Blocks in which every part counts, the formula in plain PyTorch, and networks as they start, shared by tests."""

import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn

from mmseg_sr import SRBlock
from mmseg_sr.scene.scene_block import SceneSRBlock


def trained(
    in_channels=6, memory_size=(4, 5), num_memories=3, hidden_channels=4, seed=0, kind=SRBlock, scale=1.0, **options
) -> SRBlock:
    """A block whose memory is not zero and whose gate tells images apart."""
    generator = torch.Generator().manual_seed(seed)
    block = kind(in_channels, memory_size, num_memories, hidden_channels, **options)
    for parameter in block.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return block


def built(cfg: dict, seed: int = 0) -> nn.Module:
    """A network of mmseg, or a part of one, with the weights that it starts from."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmseg'):
        network = MODELS.build(cfg)
        network.init_weights()
    return network


def plain_resize(maps: torch.Tensor, size: tuple) -> torch.Tensor:
    """Resize by PyTorch itself, so that the package's own ways can be compared with it."""
    return F.interpolate(maps, size, mode='bilinear', align_corners=False, antialias=False)


class PlainBlock(SceneSRBlock):
    """The block as its formula stands, step by step in plain PyTorch: what the fast form is compared with."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = self.squeeze(x)
        if x.shape[-2:] != self.memory_size:
            squeezed = plain_resize(squeezed, self.memory_size)
        with torch.autocast('cpu', enabled=False):
            weights = self.gate(squeezed.flatten(1).to(self.gate[0].weight.dtype)).to(x.dtype)
            return x + plain_recall(weights, self.memory_blocks().to(x.dtype), self.place, x.shape[-2:])


def plain_recall(weights: torch.Tensor, memory: torch.Tensor, place: torch.Tensor | None, size: tuple) -> torch.Tensor:
    """The weighted sum of the memory blocks, resized or sampled at its places by PyTorch's own functions."""
    recalled = torch.einsum('np,pchw->nchw', weights, memory)
    if place is None:
        return recalled if recalled.shape[-2:] == size else plain_resize(recalled, size)
    exact = torch.promote_types(recalled.dtype, torch.float32)
    cells = plain_resize(place.to(exact), size).permute(0, 2, 3, 1).flip(-1)  # width first
    sampled = F.grid_sample(recalled.to(exact), cells, padding_mode='border', align_corners=False)
    return sampled.to(recalled.dtype)
