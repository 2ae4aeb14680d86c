"""Recall what lies at a place of the scene: the block, and the hooks by which a backbone hands it the places.

Shape letters as in :mod:`mmseg_sr.models.block`; the place of a view are two maps (N, 2, any height, any width), the
height and the width in the scene, -1 to 1, of each of its pixels. Rows have one height, columns one width.
"""

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..errors import UserError
from ..models.block import SRBlock
from ..models.insert import first_convolution
from ..models.low_rank import add_product, factors
from ..models.recall import plain_resize


@MODELS.register_module()
class SceneSRBlock(SRBlock):
    """Recall for each cell what lies at its place in the scene.

    It takes the options of :class:`.SRBlock`. Without a ``place``, which :func:`carry_place` sets for a pass, the map
    is that of a whole scene, and the block is an SRBlock.
    """

    place: Tensor | None = None

    def recall_add(self, x: Tensor, weights: Tensor) -> Tensor:
        """Add the weighted sum of the memory blocks at each cell's place."""
        if self.place is None:
            return super().recall_add(x, weights)
        add = recall_add_at if self.memory_rank is None else low_rank_recall_add_at
        return add(x, weights, *self.memory_parameters(), place=self.place)


def recall_add_at(x: Tensor, weights: Tensor, memory: Tensor, place: Tensor) -> Tensor:
    """Add to each cell of ``x`` what the weighted sum of the memory blocks holds at its place in the scene.

    Bilinear; beyond the edge of the scene, in padding, lies what is at its edge.

    Args:
        x: Feature map (N, C, h, w). It is not modified.
        weights: One weight a memory block for each image (N, P).
        memory: Memory blocks (P, C, H, W), which cover the scene.
        place: Of the cells of ``x``, or of the pixels of the image that ``x`` is the map of.

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


def low_rank_recall_add_at(x: Tensor, weights: Tensor, channels: Tensor, maps: Tensor, place: Tensor) -> Tensor:
    """Compute what :func:`recall_add_at` does for a memory of vectors (P, C, R) and maps (P, R, H, W)."""
    vectors, maps = factors(weights.to(x.dtype), channels, maps)
    exact = torch.promote_types(x.dtype, torch.float32)  # half precision has no room for a place
    cells = plain_resize(place.to(exact), x.shape[-2:]).permute(0, 2, 3, 1).flip(-1)  # (N, h, w, 2), width first
    maps = maps.expand(len(x), -1, -1, -1).to(exact)  # (N, P*R, H, W)
    sampled = F.grid_sample(maps, cells, padding_mode='border', align_corners=False)
    return add_product(x, vectors, sampled.to(x.dtype))


def _shares(line: Tensor, count: int, cells: int) -> Tensor:
    """The share of each memory cell of a line in what is recalled at each of ``count`` places: (N, count, cells).

    Bilinear sampling is linear interpolation along each side, and windows of a scene have straight sides.
    """
    centres = F.interpolate(line[:, None].float(), count, mode='linear', align_corners=False)[:, 0]  # (N, count)
    at = ((centres + 1) * cells - 1).div(2).clamp(0, cells - 1)
    return (1 - (at[..., None] - torch.arange(cells, device=at.device)).abs()).clamp(min=0)


# ----------------------------------------------------------------------------------------------------------- backbone


@MODELS.register_module()
def carry_place(network: nn.Module) -> nn.Module:
    """Let a backbone split the two channels of places from its images, and hand them to its blocks for the pass.

    A block gets them as its attribute ``place``, if it has one.

    Raises:
        UserError: In a pass, for an image with other channels; in a training, for one without places.
    """
    network.register_forward_pre_hook(_hand_out_place)
    network.register_forward_hook(_take_back_place, always_call=True)
    return network


def _hand_out_place(network: nn.Module, args: tuple) -> tuple:
    image, *rest = args
    channels = first_convolution(network).in_channels
    if image.shape[1] == channels and not network.training:
        return args
    if image.shape[1] != channels + 2:
        raise UserError(
            f'{type(network).__name__} with scene=True takes {channels} + 2 channels and got {image.shape[1]}: '
            "set model.data_preprocessor.type to 'SceneDataPreProcessor'"
        )
    _set_place(network, image[:, channels:])
    return image[:, :channels], *rest


def _take_back_place(network: nn.Module, args: tuple, output: object) -> None:
    """After each pass, also one that raised an error."""
    _set_place(network, None)


def _set_place(network: nn.Module, place: Tensor | None) -> None:
    for module in network.modules():
        if hasattr(module, 'place'):
            module.place = place
