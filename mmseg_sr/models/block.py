"""The Squeeze-and-Remember (SR) block: squeeze the map, remember which memories fit it, add their sum.

Paper: Cakaj, Mehnert, Yang, `Squeeze-and-Remember Block`, ICMLA 2024, https://arxiv.org/abs/2410.00823

Shape legend:
    N       batch
    C       channels of the feature map
    (H, W)  size of the map the memory was made for (``memory_size``)
    (h, w)  size of the input; at the trained size equal to (H, W)
    P       memory blocks (``num_memories``)
    U       hidden neurons of the gate (``hidden_channels``)
    R       rank of a memory block (``memory_rank``)
"""

import contextlib

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from .checks import check_init_cfg, check_shapes, pair, positive, switch
from .low_rank import LowRankMemory, low_rank_recall_add, memory_blocks
from .recall import plain_resize, recall_add, squeeze
from .resize_state import fit_state


class _Conv2d(nn.Conv2d):
    pass


class _Linear(nn.Linear):
    pass


# mmengine's initialisers choose layers by the name of their class and of its direct bases. One class between keeps
# the Kaiming init_cfg of every backbone, and the random numbers it would draw, away from the block.
class SRConv2d(_Conv2d):
    """A convolution of a block, such as the squeeze of an SR block."""


class SRLinear(_Linear):
    """Gate: a linear layer of an SR block."""


@MODELS.register_module()
class SRBlock(BaseModule):
    """Add to a feature map what a memory holds for it (Section III of the paper).

    1. Squeeze: a 1x1 convolution makes one map of the C channels.
    2. Remember: two linear layers and a softmax over P turn that map into one weight vector an image.
    3. Add: the weighted sum of the P memory blocks (C, H, W) is added to the input.

    The memory starts at zero, so an untrained block is the identity. Its trainable numbers are Eq. (1) of the
    paper, ``C + H*W*U + U*P + P*C*H*W``, and ``1 + U + P`` biases, which the paper does not count.

    *Other input sizes*, which the paper leaves open: the squeezed map is resized to (H, W) and the weighted sum
    to the input's size. *Other checkpoint sizes*: a state dict whose memory has another (H, W) is moved to this
    one, with a warning, such that the moved block computes at its own size exactly what the old one computed
    there. The optimizer of a resumed training forgets what it kept of the moved parameters.

    *Smaller memory.* ``P*C*H*W`` is nearly all of it. A coarser ``memory_size`` has less, and so has ``memory_rank=R``:
    each memory block is then R vectors over the channels times R maps over (H, W), ``P*R*(C + H*W)`` numbers.

    *Initial state.* The block owns it: no ``init_cfg`` of an enclosing module reaches its layers, and it draws from
    a fork of the global random state. So a network with and one without the block get the same initial weights
    from one seed: their runs are paired.

    Args:
        in_channels: C.
        memory_size: (H, W), in cells of the feature map. Never guessed.
        num_memories: P.
        hidden_channels: U.
        resize: Whether an input of another size than (H, W) is accepted.
        memory_rank: R, for a memory of :class:`.low_rank.LowRankMemory`; None for the paper's.
        init_cfg: mmengine's initialisation config, for another initial state than the paper's. As a ``layer`` it names
            'SRConv2d' (the squeeze) and 'SRLinear' (the gate).

    Raises:
        ValueError: For sizes that are no positive integers or are too large, and other wrong options; in ``forward``
            for an input that does not fit; when loading a state dict with another C, P, U or R.

    Example:
        >>> import torch
        >>> block = SRBlock(in_channels=8, memory_size=(4, 6), num_memories=3)
        >>> x = torch.randn(2, 8, 4, 6)
        >>> torch.equal(block(x), x)
        True
        >>> block(torch.randn(2, 8, 5, 9)).shape
        torch.Size([2, 8, 5, 9])
    """

    def __init__(
        self,
        in_channels: int,
        memory_size: tuple[int, int],
        num_memories: int = 2,
        hidden_channels: int = 16,
        resize: bool = True,
        memory_rank: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        self.in_channels = positive(in_channels, 'in_channels')
        self.memory_size = height, width = pair(memory_size)
        self.num_memories = positive(num_memories, 'num_memories')
        self.hidden_channels = positive(hidden_channels, 'hidden_channels')
        self.resize = switch(resize, 'resize')
        self.memory_rank = None if memory_rank is None else positive(memory_rank, 'memory_rank')
        check_shapes(
            memory=(num_memories, memory_rank or in_channels, height, width),
            gate=(hidden_channels, height * width),
            softmax=(num_memories, hidden_channels),
        )
        with torch.random.fork_rng(devices=[]):
            self.squeeze = SRConv2d(in_channels, 1, kernel_size=1)
            self.gate = nn.Sequential(
                SRLinear(height * width, hidden_channels),
                SRLinear(hidden_channels, num_memories),
                nn.Softmax(dim=1),
            )
            if memory_rank is None:
                self.memory = nn.Parameter(torch.zeros(self.memory_shape))
            else:
                self.memory = LowRankMemory(num_memories, in_channels, self.memory_size, memory_rank)

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x`` (N, C, h, w) what is remembered for it; same shape and dtype."""
        self._check_input(x)
        x, squeezed = squeeze(x, self.squeeze.weight, self.squeeze.bias)  # (N, 1, h, w)
        if x.shape[-2:] != self.memory_size:
            squeezed = plain_resize(squeezed, self.memory_size)  # (N, 1, H, W)
        with _no_autocast(x.device.type):
            weights = self.gate(squeezed.flatten(1).to(self.gate[0].weight.dtype))  # (N, P)
            return self.recall_add(x, weights)  # (N, C, h, w)

    def recall_add(self, x: Tensor, weights: Tensor) -> Tensor:
        """Add to ``x`` (N, C, h, w) the memory blocks by their ``weights`` (N, P); a subclass may recall otherwise."""
        add = recall_add if self.memory_rank is None else low_rank_recall_add
        return add(x, weights, *self.memory_parameters())

    @property
    def memory_shape(self) -> tuple[int, int, int, int]:
        """Return (P, C, H, W)."""
        return self.num_memories, self.in_channels, *self.memory_size

    def memory_blocks(self) -> Tensor:
        """Return the P memory blocks (P, C, H, W), whatever form the memory has."""
        return memory_blocks(*self.memory_parameters())

    def memory_parameters(self) -> list[nn.Parameter]:
        """Return what the memory consists of. The first starts at zero; where its row p is zero, memory block p is."""
        return [self.memory] if self.memory_rank is None else [self.memory.channels, self.memory.maps]

    def reset_parameters(self) -> None:
        """Zero the memory; draw convolution and linear layers from U(-sqrt(k), sqrt(k)), k = 1 / fan-in."""
        for layer in (self.squeeze, self.gate[0], self.gate[1]):
            layer.reset_parameters()  # PyTorch's own default for these layers is the paper's distribution
        if self.memory_rank is None:
            nn.init.zeros_(self.memory)
        else:
            self.memory.reset_parameters()

    def extra_repr(self) -> str:
        rank = '' if self.memory_rank is None else f', memory_rank={self.memory_rank}'
        return f'memory_size={self.memory_size}, num_memories={self.num_memories}{rank}, resize={self.resize}'

    def _check_input(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f'SRBlock takes (N, {self.in_channels}, h, w), got {tuple(x.shape)}')
        if not self.resize and x.shape[-2:] != self.memory_size:
            raise ValueError(
                f'SRBlock with resize=False has a memory of {self.memory_size} and got a map of {tuple(x.shape[-2:])}. '
                "Test with test_cfg=dict(mode='slide', ...) and windows of the training crop, or set resize=True"
            )

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        """Fit a memory of another (H, W) first. torch and mmengine hand over a copy of the user's dict."""
        with fit_state(self, state_dict, prefix):
            super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _no_autocast(device: str) -> contextlib.AbstractContextManager:
    """Half precision would round the softmax, and an autocast product the float32 input that it is added to."""
    return contextlib.nullcontext() if device == 'meta' else torch.autocast(device, enabled=False)
