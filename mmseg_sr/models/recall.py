"""Recall: the weighted sum over the memory blocks, added to the input.

Shape letters: N batch, C channels, (H, W) size of the memory, (h, w) size of the input, P memory blocks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (N, C, H, W) to ``size``: bilinear, pixel centres aligned, no antialias."""
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)


def recall_add(x: Tensor, weights: Tensor, memory: Tensor) -> Tensor:
    """Add to each image its own weighted sum of the memory blocks: ``x + sum_p weights[:, p] * memory[p]``.

    At the memory's own size this is one matrix product with an addition: no tensor of N x P x C x H x W, no
    second copy of ``x``. At any other size the *sum* is resized, not the P blocks one by one; resizing is
    linear, so the result is the same and costs P times less.

    Args:
        x: Feature map (N, C, h, w). It is not modified.
        weights: One weight a memory block for each image (N, P).
        memory: Memory blocks (P, C, H, W).

    Returns:
        Feature map (N, C, h, w), in the dtype of ``x``.

    Example:
        >>> x, memory = torch.ones(1, 1, 2, 2), torch.tensor([1.0, 10.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
        >>> recall_add(x, torch.tensor([[0.5, 0.5]]), memory).unique()
        tensor([6.5000])
    """
    weights, blocks = weights.to(x.dtype), memory.to(x.dtype).flatten(1)  # (N, P), (P, C*H*W)
    same_size = x.shape[-2:] == memory.shape[-2:]
    if same_size and x.is_contiguous():
        return torch.addmm(x.flatten(1), weights, blocks).view_as(x)
    recalled = torch.mm(weights, blocks).unflatten(1, memory.shape[1:])  # (N, C, H, W)
    return x + (recalled if same_size else resize(recalled, x.shape[-2:]))
