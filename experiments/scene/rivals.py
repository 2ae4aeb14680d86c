"""What else could be put at the block's place: coordinates, mmseg's SE and height attention, to compare with.

Shape letters: N batch, C channels, (h, w) size of the map.
"""

from functools import wraps

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.models.utils import SELayer
from torch import Tensor, nn

from mmseg_sr.models.recall import plain_resize


def apart(init):
    """Let a module draw its first weights from a fork of the random state, as an SR block does: runs are paired."""

    @wraps(init)
    def wrapped(*args, **kwargs):
        with torch.random.fork_rng(devices=[]):
            init(*args, **kwargs)

    return wrapped


@MODELS.register_module()
class StockSE(SELayer):
    """mmseg's squeeze-and-excitation: https://arxiv.org/abs/1709.01507"""

    @apart
    def __init__(self, in_channels: int):
        super().__init__(in_channels)


class _Placed(nn.Module):
    """A block that knows where its map lies; without ``place`` the map is the whole scene."""

    place: Tensor | None = None

    def _place_of(self, x: Tensor) -> Tensor:
        """Height and width of each cell in the scene, -1 to 1: (N, 2, h, w)."""
        if self.place is not None:
            return plain_resize(self.place, x.shape[-2:])
        heights, widths = (((torch.arange(side) + 0.5) / side * 2 - 1).to(x) for side in x.shape[-2:])
        return torch.stack(torch.meshgrid(heights, widths, indexing='ij')).expand(len(x), -1, -1, -1)


@MODELS.register_module()
class Coordinates(_Placed):
    """Coordinates as channels of the map, in CoordConv's manner: https://arxiv.org/abs/1807.03247

    Height, width and distance from the middle, through a 1x1 convolution that starts at zero and is added.
    """

    @apart
    def __init__(self, in_channels: int):
        super().__init__()
        self.project = nn.Conv2d(3, in_channels, kernel_size=1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        place = self._place_of(x)
        return x + self.project(torch.cat([place, place.norm(dim=1, keepdim=True)], dim=1))


@MODELS.register_module()
class HeightAttention(_Placed):
    """Attention over channels, row by row, in HANet's manner: https://arxiv.org/abs/2003.05128

    Mean over the width, pooled to 16 rows; a sinusoidal code of each row's height in the scene; convolutions along the
    height; a sigmoid. Attention and map are of the same stage here, twice the sigmoid, so that it starts near one.
    """

    @apart
    def __init__(self, in_channels: int, ratio: int = 8, rows: int = 16):
        super().__init__()
        hidden = in_channels // ratio
        self.rows = rows
        self.reduce = nn.Conv1d(in_channels, hidden, kernel_size=3, padding=1)
        self.mix = nn.Conv1d(hidden, hidden * 2, kernel_size=3, padding=1)
        self.expand = nn.Conv1d(hidden * 2, in_channels, kernel_size=3, padding=1)
        self.register_buffer('frequencies', 0.5 * torch.pi * 2.0 ** torch.arange(hidden // 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = F.adaptive_avg_pool1d(x.mean(3), self.rows)  # (N, C, rows)
        heights = F.adaptive_avg_pool1d(self._place_of(x)[:, 0].mean(2)[:, None], self.rows)  # (N, 1, rows)
        angles = heights * self.frequencies[:, None].to(x)  # (N, hidden / 2, rows)
        hidden = F.relu(self.reduce(rows)) + torch.cat([angles.sin(), angles.cos()], dim=1)
        attention = 2 * torch.sigmoid(self.expand(F.relu(self.mix(hidden))))  # (N, C, rows)
        return x * F.interpolate(attention, x.shape[2], mode='linear', align_corners=False)[..., None]
