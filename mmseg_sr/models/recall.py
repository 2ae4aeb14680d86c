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
    layout = torch.channels_last if _is_channels_last(x) else torch.contiguous_format
    if x.shape[-2:] == memory.shape[-2:]:
        blocks = memory.contiguous(memory_format=layout)
        return _as_maps(torch.addmm(_as_rows(x), weights, _as_rows(blocks)), x)
    recalled = torch.mm(weights, memory.flatten(1)).unflatten(1, memory.shape[1:])  # (N, C, H, W)
    return resize(recalled.contiguous(memory_format=layout), x.shape[-2:]).add_(x)


def plain_recall_add(x: Tensor, weights: Tensor, memory: Tensor) -> Tensor:
    """Compute the same as :func:`recall_add`, as the formula stands: the reference."""
    recalled = torch.einsum('np,pchw->nchw', weights.to(x.dtype), memory.to(x.dtype))
    return x + (recalled if recalled.shape[-2:] == x.shape[-2:] else resize(recalled, x.shape[-2:]))


def _is_channels_last(maps: Tensor) -> bool:
    return maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()


def _as_rows(maps: Tensor) -> Tensor:
    """Maps (N, C, h, w) as rows (N, C*h*w) in the order in which they lie in memory: no copy in either layout."""
    return (maps.permute(0, 2, 3, 1) if _is_channels_last(maps) else maps).flatten(1)


def _as_maps(rows: Tensor, like: Tensor) -> Tensor:
    """Rows made by ``_as_rows(like)`` as maps again."""
    if not _is_channels_last(like):
        return rows.view(like.shape)
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
