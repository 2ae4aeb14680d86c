"""Recall: the weighted sum over the memory blocks, added to the input.

Shape letters: N batch, C channels, (H, W) size of the memory, (h, w) size of the input, P memory blocks.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .resizing import plain_resize, resize


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


def recall_add_at(x: Tensor, weights: Tensor, memory: Tensor, place: Tensor) -> Tensor:
    """Add to each cell of ``x`` what the weighted sum of the memory blocks holds at its place in the scene.

    Bilinear; beyond the edge of the scene, in padding, lies what is at its edge. For a whole image this is
    :func:`recall_add`.

    Args:
        x: Feature map (N, C, h, w). It is not modified.
        weights: One weight a memory block for each image (N, P).
        memory: Memory blocks (P, C, H, W), which cover the scene.
        place: Height and width in the scene, -1 to 1, of each cell, or of each pixel of the image that ``x`` is the
            map of (N, 2, any height, any width). Rows have one height, columns one width.

    Returns:
        Feature map (N, C, h, w), in the dtype of ``x``.

    Example:
        >>> x, memory = torch.zeros(1, 1, 1, 2), torch.tensor([1.0, 5.0]).view(1, 1, 1, 2)
        >>> place = torch.tensor([[0.0, 0.0], [0.5, 0.0]]).view(1, 2, 1, 2)  # the right half's middle, the middle
        >>> recall_add_at(x, torch.ones(1, 1), memory, place)
        tensor([[[[5., 3.]]]])
    """
    weights, memory, (height, width) = weights.to(x.dtype), memory.to(x.dtype), x.shape[-2:]
    rows = _shares(place[:, 0, :, 0], height, memory.shape[2]).to(x.dtype)  # (N, h, H)
    columns = _shares(place[:, 1, 0], width, memory.shape[3]).to(x.dtype)  # (N, w, W)
    recalled = torch.mm(weights, memory.flatten(1)).unflatten(1, memory.shape[1:])  # (N, C, H, W)
    lines = (rows[:, None] @ recalled).flatten(1, 2)  # (N, C*h, W)
    if x.is_contiguous():
        return torch.baddbmm(x.flatten(1, 2), lines, columns.mT).view_as(x)
    return x + torch.bmm(lines, columns.mT).view(x.shape)


def plain_recall_add_at(x: Tensor, weights: Tensor, memory: Tensor, place: Tensor) -> Tensor:
    """Compute the same as :func:`recall_add_at`, by PyTorch's own sampling: the reference."""
    recalled = torch.einsum('np,pchw->nchw', weights.to(x.dtype), memory.to(x.dtype))
    return x + sample_at(recalled, place, x.shape[-2:])


def sample_at(maps: Tensor, place: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample maps (N, C, H, W) of the scene where the cells of a map of ``size`` lie, as :func:`recall_add_at` does."""
    exact = torch.promote_types(maps.dtype, torch.float32)  # half precision has no room for a place
    cells = plain_resize(place.to(exact), size).permute(0, 2, 3, 1)  # (N, h, w, 2)
    sampled = F.grid_sample(maps.to(exact), cells.flip(-1), padding_mode='border', align_corners=False)  # width first
    return sampled.to(maps.dtype)


def _shares(line: Tensor, count: int, cells: int) -> Tensor:
    """The share of each memory cell of a line in what is recalled at each of ``count`` places: (N, count, cells).

    Bilinear sampling is linear interpolation along each side, and windows of a scene have straight sides.
    """
    centres = F.interpolate(line[:, None].float(), count, mode='linear', align_corners=False)[:, 0]  # (N, count)
    at = ((centres + 1) * cells - 1).div(2).clamp(0, cells - 1)
    return (1 - (at[..., None] - torch.arange(cells, device=at.device)).abs()).clamp(min=0)


def plain_recall_add(x: Tensor, weights: Tensor, memory: Tensor) -> Tensor:
    """Compute the same as :func:`recall_add`, as the formula stands: the reference."""
    recalled = torch.einsum('np,pchw->nchw', weights.to(x.dtype), memory.to(x.dtype))
    return x + (recalled if recalled.shape[-2:] == x.shape[-2:] else plain_resize(recalled, x.shape[-2:]))


def _as_rows(maps: Tensor, channels_last: bool) -> Tensor:
    """Maps (N, C, h, w) as rows (N, C*h*w), in the order in which they lie in memory: nothing is copied."""
    return (maps.permute(0, 2, 3, 1) if channels_last else maps).flatten(1)


def _as_maps(rows: Tensor, shape: Sequence[int], channels_last: bool) -> Tensor:
    """Rows in that order as maps of a shape (N, C, h, w)."""
    if not channels_last:
        return rows.view(shape)
    count, channels, height, width = shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
