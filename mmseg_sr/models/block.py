"""The Squeeze-and-Remember (SR) block: squeeze the map, remember which memories fit it, add their sum.

Paper: Cakaj, Mehnert, Yang, `Squeeze-and-Remember Block`, ICMLA 2024, https://arxiv.org/abs/2410.00823

Shape legend:
    N       batch
    C       channels of the feature map
    (H, W)  size of the map the memory was made for (``memory_size``)
    (h, w)  size of the input; at the trained size equal to (H, W)
    P       memory blocks (``num_memories``)
    U       hidden neurons of the gate (``hidden_channels``)
"""

import logging

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from .recall import recall_add, resize


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
    there. Without that, mmengine would log a shape mismatch and keep a zero memory.

    *Initial state.* The block owns it: no ``init_cfg`` of an enclosing module reaches its layers, and it draws from
    a fork of the global random state. So a network with and one without the block get the same initial weights
    from one seed: their runs are paired.

    Args:
        in_channels: C.
        memory_size: (H, W), in cells of the feature map. Never guessed.
        num_memories: P.
        hidden_channels: U.
        resize: Whether an input of another size than (H, W) is accepted.
        init_cfg: mmengine's initialisation config, for another initial state than the paper's.

    Raises:
        ValueError: For sizes that are no positive integers; in ``forward`` for an input that does not fit; when
            loading a state dict with another C, P or U.

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
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        self.in_channels = _positive(in_channels, 'in_channels')
        self.memory_size = _size(memory_size)
        self.num_memories = _positive(num_memories, 'num_memories')
        self.hidden_channels = _positive(hidden_channels, 'hidden_channels')
        self.resize = resize

        height, width = self.memory_size
        with torch.random.fork_rng(devices=[]):
            self.squeeze = SRConv2d(in_channels, 1, kernel_size=1)
            self.gate = nn.Sequential(
                SRLinear(height * width, hidden_channels),
                SRLinear(hidden_channels, num_memories),
                nn.Softmax(dim=1),
            )
        self.memory = nn.Parameter(torch.zeros(num_memories, in_channels, height, width))

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x`` (N, C, h, w) what is remembered for it; same shape and dtype."""
        self._check_input(x)
        squeezed = self.squeeze(x)  # (N, 1, h, w)
        if x.shape[-2:] != self.memory_size:
            squeezed = resize(squeezed, self.memory_size)  # (N, 1, H, W)
        # Half precision would round the softmax, and an autocast product the float32 input it is added to.
        with torch.autocast(x.device.type, enabled=False):
            weights = self.gate(squeezed.flatten(1).to(self.memory.dtype))  # (N, P)
            return recall_add(x, weights, self.memory)  # (N, C, h, w)

    def reset_parameters(self) -> None:
        """Zero memory; U(-sqrt(k), sqrt(k)), k = 1 / fan-in, for the convolution and the linear layers."""
        # PyTorch's own default for these layers is the paper's distribution.
        for layer in (self.squeeze, self.gate[0], self.gate[1]):
            layer.reset_parameters()
        nn.init.zeros_(self.memory)

    def extra_repr(self) -> str:
        return f'memory_size={self.memory_size}, num_memories={self.num_memories}, resize={self.resize}'

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
        keys = [prefix + name for name in ('squeeze.weight', 'gate.0.weight', 'gate.1.weight', 'memory')]
        missing = [key for key in keys if key not in state_dict]
        if len(missing) < len(keys):
            if missing:
                raise ValueError(f'the checkpoint holds a part of an SR block only: {", ".join(missing)} is missing')
            fitted = self._fit([state_dict[key] for key in keys], name=prefix.rstrip('.') or 'SRBlock')
            state_dict.update(zip(keys, fitted, strict=True))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _fit(self, tensors: list[Tensor], name: str) -> list[Tensor]:
        """Check squeeze, gate and memory of a state dict, and move them to this block's (H, W)."""
        squeeze, columns, rows, memory = tensors
        old_size = tuple(memory.shape[-2:])
        expected = {
            'in_channels': self.in_channels,
            'num_memories': self.num_memories,
            'hidden_channels': self.hidden_channels,
        }
        found = _options_of(squeeze, columns, rows, memory)
        if found is None:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            raise ValueError(f'{name}: tensors of shapes {shapes} in the checkpoint do not make one SR block')
        wrong = [f'{key}={value} (here {expected[key]})' for key, value in found.items() if value != expected[key]]
        if wrong:
            raise ValueError(
                f'{name}: the checkpoint was made with {", ".join(wrong)}. Only memory_size may differ: '
                'set the others in the config (sr=dict(...)) as they are in the checkpoint'
            )
        if old_size == self.memory_size:
            return tensors
        print_log(
            f'{name}: the memory of the checkpoint is {old_size}, it is resized to {self.memory_size}',
            logger='current',
            level=logging.WARNING,
        )
        return [squeeze, _resize_columns(columns, old_size, self.memory_size), rows, resize(memory, self.memory_size)]


def _options_of(squeeze: Tensor, columns: Tensor, rows: Tensor, memory: Tensor) -> dict[str, int] | None:
    """Read C, P and U from the tensors of a block; None where they do not belong to one block."""
    if memory.dim() != 4 or columns.dim() != 2 or rows.dim() != 2:
        return None
    num_memories, in_channels, height, width = memory.shape
    hidden = columns.shape[0]
    consistent = (
        squeeze.shape == (1, in_channels, 1, 1)
        and columns.shape[1] == height * width
        and rows.shape == (num_memories, hidden)
    )
    return dict(in_channels=in_channels, num_memories=num_memories, hidden_channels=hidden) if consistent else None


def _resize_columns(columns: Tensor, old_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Move a linear layer (U, H*W) from maps of ``old_size`` to maps of ``size``.

    The new layer is the old one after a resize to ``old_size``: both are linear, so their product is a linear
    layer, here taken as the gradient of that product. Interpolating the columns and scaling them by the ratio of
    the areas is the same only for whole-number ratios; this keeps the answer to a constant map, and to every
    map that the resize policy would have shown the old layer, in all cases.
    """
    with torch.enable_grad():
        maps = columns.new_zeros(columns.shape[0], 1, *size).requires_grad_()
        weights = columns.detach().unflatten(1, (1, *old_size))
        (moved,) = torch.autograd.grad(resize(maps, old_size), maps, weights)
    return moved.flatten(1)


def _positive(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f'{name} must be a positive integer, got {value!r}')
    return value


def _size(value: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f'memory_size must be (H, W), the height and width of the feature map, got {value!r}')
    return _positive(value[0], 'the height in memory_size'), _positive(value[1], 'the width in memory_size')
