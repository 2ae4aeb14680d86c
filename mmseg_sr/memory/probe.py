"""Record what SR blocks do in a pass: their weights, and the map before and after them as means over the channels.

Shape letters: N batch, C channels, (h, w) size of the block's input, P memory blocks.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..models.block import SRBlock
from ..models.find import sr_blocks


@dataclass
class Passes:
    """What one SR block did: an entry a pass in each list, tensors in float32 on the CPU.

    One image takes one pass in mmseg's ``whole`` mode, and one for each window in ``slide`` mode.
    """

    weights: list[Tensor] = field(default_factory=list)  # softmax weights (N, P)
    before: list[Tensor] = field(default_factory=list)  # channel mean of the block's input (N, h, w)
    after: list[Tensor] = field(default_factory=list)  # that of its output
    shift: list[Tensor] = field(default_factory=list)  # norm of what it added relative to that of its input (N,)


@contextmanager
def probe(model: nn.Module, names: Sequence[str] | None = None) -> Iterator[dict[str, Passes]]:
    """Record what SR blocks do in every pass inside the ``with`` block. It changes no output and leaves no hook.

    Feature maps are not kept, only their means over the channels. A model under ``torch.compile`` may not run hooks
    that come later than its compilation: probe the model it was made from.

    Args:
        model: A model with SR blocks.
        names: Dotted names of the blocks to look at. All by default.

    Yields:
        The passes of each block by its name, filled while the model runs.

    Raises:
        ValueError: For a name that is no SR block, or a model without any.

    Example:
        >>> block = SRBlock(in_channels=8, memory_size=(4, 6), num_memories=3)
        >>> with probe(nn.Sequential(block)) as passes:
        ...     y = block(torch.randn(2, 8, 4, 6))
        >>> passes['0'].weights[0].shape, passes['0'].before[0].shape, passes['0'].shift[0]
        (torch.Size([2, 3]), torch.Size([2, 4, 6]), tensor([0., 0.]))
    """
    blocks = sr_blocks(model)
    if not blocks:
        raise ValueError(f'{type(model).__name__} has no SR block')
    for name in names or ():
        if name not in blocks:
            raise ValueError(f'no SR block is named {name!r}; there are {", ".join(blocks)}')
    passes = {name: Passes() for name in (blocks if names is None else names)}
    with ExitStack() as stack:
        for name, seen in passes.items():
            for handle in _watch(blocks[name], seen):
                stack.enter_context(handle)
        yield passes


def _watch(block: SRBlock, seen: Passes) -> list:
    @torch.no_grad()
    def see_weights(gate: nn.Module, args: tuple, weights: Tensor) -> None:
        seen.weights.append(_keep(weights))

    @torch.no_grad()
    def see_maps(block: nn.Module, args: tuple, kwargs: dict, after: Tensor) -> None:
        before = args[0] if args else kwargs['x']
        seen.before.append(_keep(before.mean(1, dtype=torch.float32)))
        seen.after.append(_keep(after.mean(1, dtype=torch.float32)))
        seen.shift.append(_keep(_relative_shift(before, after)))

    return [block.gate.register_forward_hook(see_weights), block.register_forward_hook(see_maps, with_kwargs=True)]


def _relative_shift(before: Tensor, after: Tensor) -> Tensor:
    """Image by image: the difference of a whole batch would be one more feature map in memory."""
    norm = torch.linalg.vector_norm
    pairs = zip(before, after, strict=True)
    return torch.stack([norm(y - x, dtype=torch.float32) / norm(x, dtype=torch.float32) for x, y in pairs])


def _keep(tensor: Tensor) -> Tensor:
    return tensor.to('cpu', torch.float32, copy=True)
