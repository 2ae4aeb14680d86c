"""Resizing maps: bilinear, with a gradient that reads what it is given once.

Shape letters: N batch, C channels, (H, W) size before, (h, w) size after.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

PIECE = 2**18  # numbers: with what becomes of them they fit a core's cache


def plain_resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (N, C, H, W) to ``size``: bilinear, pixel centres aligned, no antialias."""
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the same as :func:`plain_resize`, whose gradient would be scattered cell by cell, with a faster gradient.

    Bilinear resizing is linear along each side, so the gradient is two matrix products, here of a few maps at a time.

    Args:
        maps: (N, C, H, W).
        size: (h, w).

    Returns:
        Maps (N, C, h, w).

    Example:
        >>> resize(torch.tensor([0.0, 4.0]).view(1, 1, 1, 2), (1, 4)).flatten()
        tensor([0., 1., 3., 4.])
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return plain_resize(maps, size)
    return _Resize.apply(maps, tuple(size))


class _Resize(torch.autograd.Function):
    @staticmethod
    def forward(maps: Tensor, size: tuple[int, int]) -> Tensor:
        return plain_resize(maps, size)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx, d_resized: Tensor) -> tuple:
        shape, size = ctx.shape, d_resized.shape[-2:]
        if not d_resized.is_contiguous():  # channels_last, whose maps do not lie one by one
            return torch.ops.aten.upsample_bilinear2d_backward(d_resized, size, shape, False), None
        rows, columns = (_shares(old, new, d_resized) for old, new in zip(shape[-2:], size, strict=True))
        pieces = d_resized.flatten(0, 1).split(max(PIECE // size.numel(), 1))  # (a few, h, w)
        return torch.cat([rows @ (piece @ columns.T) for piece in pieces]).view(shape), None


def _shares(old: int, new: int, like: Tensor) -> Tensor:
    """The share of each cell of a line of ``old`` cells in each of the ``new`` ones it is resized to (old, new)."""
    each = torch.eye(old, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)[None]
    return F.interpolate(each, size=new, mode='linear', align_corners=False)[0].to(like.dtype)
