"""Compute the block's three steps close to the least memory traffic: squeeze, resize, recall with the addition.

Shape letters: N batch, C channels, (H, W) size of the memory, (h, w) size of the input, P memory blocks.

These forms are for CPUs. On a GPU, where time goes into starting many small operations, and under a compiler, a tracer
or an exporter, which fuse by themselves, the plain PyTorch forms are used.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PIECE = 2**18  # numbers: with what becomes of them they fit a core's cache


def _plain(x: Tensor) -> bool:
    return x.device.type != 'cpu' or torch.compiler.is_compiling() or torch.jit.is_tracing()


# ------------------------------------------------------------------------------------------------------------- squeeze


def squeeze(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Squeeze the channels of ``x`` by a 1x1 convolution, and hand ``x`` on for whatever else is done with it.

    The block uses its input twice, to squeeze it and to add to it. Autograd would write the convolution's gradient, as
    large as the map, and then add it to the gradient of the addition. Here the map passes *through* the squeeze, so
    both meet in one place, ``d x = d (x after the block) + weight * d squeezed``, read once and written once.

    Args:
        x: Feature map (N, C, h, w), contiguous or channels_last; any other layout is copied.
        weight: Kernel of the convolution (1, C, 1, 1).
        bias: Its bias (1,).

    Returns:
        ``x`` and the squeezed map (N, 1, h, w). Go on with this ``x``: only then are the gradients joined.

    Example:
        >>> x, squeezed = squeeze(torch.ones(2, 3, 4, 5), torch.ones(1, 3, 1, 1), torch.zeros(1))
        >>> squeezed.shape, squeezed.unique()
        (torch.Size([2, 1, 4, 5]), tensor([3.]))
    """
    return (x, F.conv2d(x, weight, bias)) if _plain(x) else _Squeeze.apply(x, weight, bias)


class _Squeeze(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        # For each image a product of a vector and a matrix: contiguous and channels_last maps are read as they lie.
        kernel = weight.flatten(1).expand(len(x), 1, -1)  # (N, 1, C)
        squeezed = torch.bmm(kernel, x.flatten(2)).add_(bias)  # (N, 1, h*w)
        return x.view_as(x), squeezed.unflatten(2, x.shape[2:])

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx, d_through: Tensor, d_squeezed: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        d_squeezed = d_squeezed.to(x.dtype)  # under autocast the product was half precision, and x may not be
        d_x = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_x = torch.addcmul(d_through, weight.to(x.dtype), d_squeezed)
        if ctx.needs_input_grad[1]:
            columns = torch.bmm(x.flatten(2), d_squeezed.flatten(2).transpose(1, 2))  # (N, C, 1)
            d_weight = columns.sum(0).view_as(weight).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            d_bias = d_squeezed.sum().view(1).to(weight.dtype)
        return d_x, d_weight, d_bias


# -------------------------------------------------------------------------------------------------------------- resize


def plain_resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (N, C, H, W) to ``size``: bilinear, pixel centres aligned, no antialias."""
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the same as :func:`plain_resize`, with a faster gradient.

    Bilinear resizing is linear along each side, so the gradient is two matrix products, here of a few maps at a time;
    PyTorch scatters it cell by cell.

    Example:
        >>> resize(torch.tensor([0.0, 4.0]).view(1, 1, 1, 2), (1, 4)).flatten()
        tensor([0., 1., 3., 4.])
    """
    return plain_resize(maps, size) if _plain(maps) else _Resize.apply(maps, tuple(size))


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


# -------------------------------------------------------------------------------------------------------------- recall


def recall_add(x: Tensor, weights: Tensor, memory: Tensor) -> Tensor:
    """Add to each image its own weighted sum of the memory blocks: ``x + sum_p weights[:, p] * memory[p]``.

    At the memory's own size this is one matrix product with an addition: no tensor of N x P x C x H x W, no second copy
    of ``x``. At any other size the *sum* is resized, not the P blocks one by one: resizing is linear.

    Args:
        x: Feature map (N, C, h, w). It is not modified. One in channels_last is added to as it lies; the memory is
            copied to that layout unless it has it, as after ``network.to(memory_format=torch.channels_last)``.
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


def _as_rows(maps: Tensor, channels_last: bool) -> Tensor:
    """Maps (N, C, h, w) as rows (N, C*h*w), in the order in which they lie in memory: nothing is copied."""
    return (maps.permute(0, 2, 3, 1) if channels_last else maps).flatten(1)


def _as_maps(rows: Tensor, shape: Sequence[int], channels_last: bool) -> Tensor:
    """Rows in that order as maps of a shape (N, C, h, w)."""
    if not channels_last:
        return rows.view(shape)
    count, channels, height, width = shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
