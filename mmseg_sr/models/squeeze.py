"""Squeeze: a 1x1 convolution to one channel whose gradient joins the map's own in one pass.

Shape letters: N batch, C channels, (h, w) size of the map.

*Why not the stock convolution.* The block uses its input twice, to squeeze it and to add to it. Autograd would write
the convolution's gradient, as large as the map, and then add it to the gradient that comes from the addition: two
more tensors than needed. Here the map passes *through* the squeeze, so both gradients meet in one place,
``d x = d (x after the block) + weight * d squeezed``, read once and written once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def squeeze(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Squeeze the channels of ``x``, and hand ``x`` on for whatever else is done with it.

    Args:
        x: Feature map (N, C, h, w), contiguous or channels_last; any other layout is copied.
        weight: Kernel of a 1x1 convolution (1, C, 1, 1).
        bias: Its bias (1,).

    Returns:
        ``x`` and the squeezed map (N, 1, h, w). Go on with this ``x``: only then are the gradients joined.

    Example:
        >>> x, squeezed = squeeze(torch.ones(2, 3, 4, 5), torch.ones(1, 3, 1, 1), torch.zeros(1))
        >>> squeezed.shape, squeezed.unique()
        (torch.Size([2, 1, 4, 5]), tensor([3.]))
    """
    # A compiler fuses the plain form by itself; an exporter and a counter of FLOPs know convolutions.
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return x, F.conv2d(x, weight, bias)
    return _Squeeze.apply(x, weight, bias)


class _Squeeze(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        # For each image a product of a vector and a matrix: contiguous and channels_last maps are read as they lie.
        kernel = weight.flatten(1).expand(len(x), 1, -1)  # (N, 1, C)
        squeezed = torch.bmm(kernel, x.flatten(2)).add_(bias)  # (N, 1, h*w)
        return x.view_as(x), squeezed.unflatten(2, x.shape[2:])

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

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
