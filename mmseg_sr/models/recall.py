"""Recall: the weighted sum over the memory blocks, added to the input.

Shape letters: N batch, C channels, (H, W) size of the memory, (h, w) size of the input, P memory blocks.
"""

from collections.abc import Sequence

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
    linear, so the result is the same and costs P times less; ``x`` is added in place to what was resized.

    A channels_last ``x`` is added to as it lies. The memory is copied to that layout unless it has it, as after
    ``network.to(memory_format=torch.channels_last)``.

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
    weights, memory = weights.to(x.dtype), memory.to(x.dtype)
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    blocks = _as_rows(memory.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format), last)
    if x.shape[-2:] == memory.shape[-2:]:
        return _as_maps(torch.addmm(_as_rows(x, last), weights, blocks), x.shape, last)
    recalled = _as_maps(torch.mm(weights, blocks), (len(x), *memory.shape[1:]), last)  # (N, C, H, W)
    return resize(recalled, x.shape[-2:]).add_(x)


def plain_recall_add(x: Tensor, weights: Tensor, memory: Tensor) -> Tensor:
    """Compute the same as :func:`recall_add`, as the formula stands: the reference."""
    recalled = torch.einsum('np,pchw->nchw', weights.to(x.dtype), memory.to(x.dtype))
    return x + (recalled if recalled.shape[-2:] == x.shape[-2:] else resize(recalled, x.shape[-2:]))


def _as_rows(maps: Tensor, channels_last: bool) -> Tensor:
    """Maps (N, C, h, w) as rows (N, C*h*w), in the order in which they lie in memory: nothing is copied."""
    return (maps.permute(0, 2, 3, 1) if channels_last else maps).flatten(1)


def _as_maps(rows: Tensor, shape: Sequence[int], channels_last: bool) -> Tensor:
    """Rows in that order as maps of a shape (N, C, h, w)."""
    if not channels_last:
        return rows.view(shape)
    count, channels, height, width = shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
