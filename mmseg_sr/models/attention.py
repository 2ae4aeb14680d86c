"""SE and CBAM, to compare the SR block with: attention that weights a map and remembers nothing.

Shape letters: N batch, C channels, (h, w) size of the map.
"""

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from .block import SRConv2d
from .checks import check_init_cfg, positive


@MODELS.register_module()
class SEBlock(BaseModule):
    """Weight the channels of a map by their means: squeeze-and-excitation.

    Paper: Hu, Shen, Sun, Squeeze-and-Excitation Networks, CVPR 2018, https://arxiv.org/abs/1709.01507. It goes where an
    SR block goes, and as there the rest of the network starts from the same weights. It is not the identity at the
    start: its weights begin near a half.

    Args:
        in_channels: C.
        ratio: C / ratio channels are between the two layers, one at least.
        init_cfg: mmengine's initialisation config, to start otherwise than PyTorch has it; its ``layer`` is 'SRConv2d'.

    Raises:
        ValueError: For wrong options.

    Example:
        >>> SEBlock(in_channels=32)(torch.randn(2, 32, 4, 6)).shape
        torch.Size([2, 32, 4, 6])
    """

    def __init__(self, in_channels: int, ratio: int = 16, init_cfg: dict | list[dict] | None = None):
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        with torch.random.fork_rng(devices=[]):
            self.excite = _two_layers(in_channels, ratio, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels of ``x`` (N, C, h, w); same shape."""
        return x * torch.sigmoid(self.excite(x.mean((2, 3), keepdim=True)))


@MODELS.register_module()
class CBAMBlock(BaseModule):
    """Weight the channels of a map by their means and maxima, then its cells by those over the channels.

    Paper: Woo, Park, Lee, Kweon, CBAM: Convolutional Block Attention Module, ECCV 2018,
    https://arxiv.org/abs/1807.06521. These are its equations; timm, and the code of its authors, normalise the map of
    the cells before the sigmoid. As with :class:`SEBlock` it is not the identity at the start.

    Args:
        in_channels: C.
        ratio: C / ratio channels are between the two layers, one at least.
        kernel_size: Side of the convolution over the cells, odd. The paper of SR has 3.
        init_cfg: mmengine's initialisation config, to start otherwise than PyTorch has it; its ``layer`` is 'SRConv2d'.

    Raises:
        ValueError: For wrong options.

    Example:
        >>> CBAMBlock(in_channels=32, kernel_size=3)(torch.randn(2, 32, 4, 6)).shape
        torch.Size([2, 32, 4, 6])
    """

    def __init__(
        self, in_channels: int, ratio: int = 16, kernel_size: int = 7, init_cfg: dict | list[dict] | None = None
    ):
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        if positive(kernel_size, 'kernel_size') % 2 == 0:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}')
        with torch.random.fork_rng(devices=[]):
            self.channels = _two_layers(in_channels, ratio, bias=False)
            self.cells = SRConv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels, then the cells of ``x`` (N, C, h, w); same shape."""
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)  # (N, C, 1, 1)
        x = x * torch.sigmoid(self.channels(mean) + self.channels(most))
        mean, most = x.mean(1, keepdim=True), x.amax(1, keepdim=True)  # (N, 1, h, w)
        return x * torch.sigmoid(self.cells(torch.cat([mean, most], dim=1)))


def _two_layers(in_channels: int, ratio: int, bias: bool) -> nn.Sequential:
    hidden = max(positive(in_channels, 'in_channels') // positive(ratio, 'ratio'), 1)
    return nn.Sequential(
        SRConv2d(in_channels, hidden, kernel_size=1, bias=bias),
        nn.ReLU(),
        SRConv2d(hidden, in_channels, kernel_size=1, bias=bias),
    )
