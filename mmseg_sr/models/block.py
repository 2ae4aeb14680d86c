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

import logging

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from .checks import check_init_cfg, check_shapes, positive, switch
from .low_rank import LowRankMemory, memory_blocks
from .recall import plain_recall_add, plain_recall_add_at, recall_add, recall_add_at
from .resize_state import faults, keys_of, resize_columns, start_anew
from .resizing import plain_resize
from .squeeze import squeeze


class _Conv2d(nn.Conv2d):
    pass


class _Linear(nn.Linear):
    pass


# mmengine's initialisers choose layers by the name of their class and of its direct bases. One class between keeps
# the Kaiming init_cfg of every backbone, and the random numbers it would draw, away from the block.
class SRConv2d(_Conv2d):
    """A convolution of an SR block."""


class SRLinear(_Linear):
    """A linear layer of an SR block."""


@MODELS.register_module()
class SRBlock(BaseModule):
    """Squeeze-and-Remember block (Section III of the paper).

    1. Squeeze: a 1x1 convolution makes one map of the C channels.
    2. Remember: two linear layers and a softmax over P turn that map into one weight vector an image.
    3. Add: the weighted sum of the P memory blocks (C, H, W) is added to the input.

    The memory starts at zero, so an untrained block is the identity. Its trainable numbers are Eq. (1) of the
    paper, ``C + H*W*U + U*P + P*C*H*W``, and ``1 + U + P`` biases, which the paper does not count.

    *Other input sizes*, which the paper leaves open: the squeezed map is resized to (H, W) and the weighted sum
    to the input's size. *Other checkpoint sizes*: a state dict whose memory has another (H, W) is moved to this
    one, with a warning, such that the moved block computes at its own size exactly what the old one computed
    there. Without that, mmengine would log a shape mismatch and keep a zero memory. The optimizer of a resumed
    training forgets what it kept of the moved parameters.

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
        fused: Whether to compute close to the least memory traffic. Off, each step is the formula as it stands in
            plain PyTorch: the reference the fast form is held against, and a way out should it ever fail.
        memory_rank: R, for a memory of :class:`.low_rank.LowRankMemory`; None for the paper's.
        init_cfg: mmengine's initialisation config, for another initial state than the paper's.

    Raises:
        ValueError: For sizes that are no positive integers or are too large, and other wrong options; in ``forward``
            for an input that does not fit; when loading a state dict with another C, P or U.

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
        fused: bool = True,
        memory_rank: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        self.in_channels = positive(in_channels, 'in_channels')
        self.memory_size = height, width = _size(memory_size)
        self.num_memories = positive(num_memories, 'num_memories')
        self.hidden_channels = positive(hidden_channels, 'hidden_channels')
        self.resize = switch(resize, 'resize')
        self.fused = switch(fused, 'fused')
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
                self.memory = nn.Parameter(torch.zeros(num_memories, in_channels, height, width))
            else:
                self.memory = LowRankMemory(num_memories, in_channels, (height, width), memory_rank)
        self.place: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x`` (N, C, h, w) what is remembered for it; same shape and dtype."""
        self._check_input(x)
        if self.fused:
            x, squeezed = squeeze(x, self.squeeze.weight, self.squeeze.bias)  # (N, 1, h, w)
        else:
            squeezed = self.squeeze(x)  # (N, 1, h, w)
        if x.shape[-2:] != self.memory_size:
            squeezed = plain_resize(squeezed, self.memory_size)  # (N, 1, H, W)
        # Half precision would round the softmax, and an autocast product the float32 input it is added to.
        with torch.autocast(x.device.type, enabled=False):
            weights = self.gate(squeezed.flatten(1).to(self.gate[0].weight.dtype))  # (N, P)
            return self._recall_add(x, weights)  # (N, C, h, w)

    @property
    def memory_shape(self) -> tuple[int, int, int, int]:
        """(P, C, H, W)."""
        return self.num_memories, self.in_channels, *self.memory_size

    def memory_blocks(self) -> Tensor:
        """The P memory blocks (P, C, H, W), whatever form the memory has."""
        return memory_blocks(*self.memory_parameters())

    def memory_parameters(self) -> list[nn.Parameter]:
        """What the memory consists of. The first part starts at zero; where its row p is zero, memory block p is."""
        return [self.memory] if self.memory_rank is None else [self.memory.channels, self.memory.maps]

    def reset_parameters(self) -> None:
        """Zero memory; U(-sqrt(k), sqrt(k)), k = 1 / fan-in, for the convolution and the linear layers."""
        # PyTorch's own default for these layers is the paper's distribution.
        for layer in (self.squeeze, self.gate[0], self.gate[1]):
            layer.reset_parameters()
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

    def _recall_add(self, x: Tensor, weights: Tensor) -> Tensor:
        if self.memory_rank is not None and self.fused:
            return self.memory(x, weights, self.place)
        if self.place is None:
            return (recall_add if self.fused else plain_recall_add)(x, weights, self.memory_blocks())
        return (recall_add_at if self.fused else plain_recall_add_at)(x, weights, self.memory_blocks(), self.place)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        """Fit a memory of another (H, W) first. torch and mmengine hand over a copy of the user's dict."""
        keys = keys_of(state_dict, prefix, self.memory_rank)
        missing = [key for key in keys if key not in state_dict]
        moved = False
        if len(missing) < len(keys):
            if missing:
                raise ValueError(f'the checkpoint holds a part of an SR block only: {", ".join(missing)} is missing')
            tensors = [state_dict[key] for key in keys]
            fitted = self._fit(tensors, name=prefix.rstrip('.') or 'SRBlock')
            state_dict.update(zip(keys, fitted, strict=True))
            moved = fitted is not tensors
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if moved:
            start_anew(self.memory_parameters()[-1], self.gate[0].weight)

    def _fit(self, tensors: list[Tensor], name: str) -> list[Tensor]:
        """Check squeeze, gate and memory of a state dict, and move them to this block's (H, W)."""
        options = ('in_channels', 'num_memories', 'hidden_channels', 'memory_rank')
        wrong = faults(tensors, {option: getattr(self, option) for option in options})
        if wrong:
            raise ValueError(f'{name}: {"; ".join(wrong)}. Only memory_size may differ')
        squeeze, columns, *others, maps = tensors
        old_size = tuple(maps.shape[-2:])
        if old_size == self.memory_size:
            return tensors
        print_log(
            f'{name}: the memory of the checkpoint is {old_size}, it is resized to {self.memory_size}; '
            'where training is resumed, its momentum starts anew',
            logger='current',
            level=logging.WARNING,
        )
        columns = resize_columns(columns, old_size, self.memory_size)
        return [squeeze, columns, *others, plain_resize(maps, self.memory_size)]


def _size(value: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f'memory_size must be (H, W), the height and width of the feature map, got {value!r}')
    return positive(value[0], 'the height in memory_size'), positive(value[1], 'the width in memory_size')
