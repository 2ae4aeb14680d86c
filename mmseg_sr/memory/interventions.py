"""Change what a trained SR block recalls, for a while: memory blocks out or scaled, other softmax weights."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from ..models.block import SRBlock
from ..models.find import sr_blocks

TRAINED, REMOVED, STATIC, SHUFFLED = 'as trained', 'removed', 'static recall', 'shuffled'
Weights = dict[str, torch.Tensor]  # (P,) by the block's name


def without(block: SRBlock, index: int | None = None) -> AbstractContextManager[None]:
    """Leave out one memory block of an SR block, or all of them, inside the ``with`` block: it is the identity then.

    The softmax weights of the others stay as they are: they are not scaled up.

    Raises:
        ValueError: For an index that is not in 0 .. P - 1.

    Example:
        >>> block = SRBlock(in_channels=1, memory_size=(1, 1), num_memories=2)
        >>> _ = block.memory.data.fill_(1)
        >>> with without(block):
        ...     block(torch.zeros(1, 1, 1, 1)).item()
        0.0
    """
    if index is not None and index not in range(block.num_memories):
        raise ValueError(f'index must be in 0 .. {block.num_memories - 1}, got {index!r}')
    return scaling(block, torch.tensor([float(index not in (None, each)) for each in range(block.num_memories)]))


def recalling(block: SRBlock, weights: torch.Tensor) -> AbstractContextManager[None]:
    """Let an SR block recall with the same ``weights`` (P,) for every input, inside the ``with`` block.

    Raises:
        ValueError: For weights of another shape.

    Example:
        >>> block = SRBlock(in_channels=1, memory_size=(1, 1), num_memories=2)
        >>> _ = block.memory.data.fill_(1)
        >>> with recalling(block, torch.tensor([3.0, 4.0])):
        ...     block(torch.zeros(1, 1, 1, 1)).item()
        7.0
    """
    return _changing(block, 'weights', weights, lambda output: weights.to(output).expand_as(output))


def scaling(block: SRBlock, factors: torch.Tensor) -> AbstractContextManager[None]:
    """Let an SR block recall each memory block times its factor (P,), inside the ``with`` block; 0 switches it off.

    A probe that is opened inside records the softmax weights scaled.

    Raises:
        ValueError: For factors of another shape.

    Example:
        >>> block = SRBlock(in_channels=1, memory_size=(1, 1), num_memories=2)
        >>> _ = block.memory.data.fill_(1)
        >>> with scaling(block, torch.tensor([2.0, 2.0])):
        ...     round(block(torch.zeros(1, 1, 1, 1)).item(), 5)
        2.0
    """
    return _changing(block, 'factors', factors, lambda output: output * factors.to(output))


@contextmanager
def _changing(block: SRBlock, name: str, values: torch.Tensor, change: Callable) -> Iterator[None]:
    """Let ``change`` make of the softmax weights (N, P) what the block recalls with; ``values`` must be (P,)."""
    if values.shape != (block.num_memories,):
        raise ValueError(f'{name} must be ({block.num_memories},), got {tuple(values.shape)}')
    with block.gate.register_forward_hook(lambda gate, args, output: change(output)):
        yield


def variants(model: torch.nn.Module, static: Weights, other: Weights) -> dict[str, list[AbstractContextManager]]:
    """Give what changes the SR blocks of a model inside a ``with`` block, by the variant's name, *as trained* first.

    ``static`` has the weights of each block for *static recall*, ``other`` those for *shuffled*.
    """
    blocks = sr_blocks(model)
    found = {TRAINED: [], REMOVED: [without(block) for block in blocks.values()]}
    found[STATIC] = [recalling(block, static[name]) for name, block in blocks.items()]
    found[SHUFFLED] = [recalling(block, other[name]) for name, block in blocks.items()]
    for name, block in blocks.items():
        memories = range(block.num_memories) if block.num_memories > 1 else ()
        found |= {f'without memory {p} of {name}': [without(block, p)] for p in memories}
        found |= {f'only memory {p} of {name}': [without(block, q) for q in memories if q != p] for p in memories}
    return found
