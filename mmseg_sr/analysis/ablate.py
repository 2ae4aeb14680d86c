"""Taking memory blocks out of a trained model for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..models.block import SRBlock


@contextmanager
def without(block: SRBlock, index: int | None = None) -> Iterator[None]:
    """Zero one memory block of an SR block, or all of them, inside the ``with`` block.

    The softmax weights stay as they are: the others are not scaled up. Afterwards the memory is what it was, bit for
    bit, also after an exception.

    Args:
        block: A block; it is changed in place meanwhile.
        index: Which of the P memory blocks; None for all, which makes the SR block the identity.

    Raises:
        ValueError: For an index that is not in 0 .. P - 1.

    Example:
        >>> block = SRBlock(in_channels=1, memory_size=(1, 1), num_memories=2)
        >>> _ = torch.nn.init.ones_(block.memory)
        >>> with without(block, 0):
        ...     block.memory.flatten().tolist()
        [0.0, 1.0]
        >>> block.memory.flatten().tolist()
        [1.0, 1.0]
    """
    if index is not None and index not in range(block.num_memories):
        raise ValueError(f'index must be in 0 .. {block.num_memories - 1}, got {index!r}')
    chosen = slice(None) if index is None else index
    kept = block.memory.detach()[chosen].clone()
    try:
        with torch.no_grad():
            block.memory[chosen] = 0
        yield
    finally:
        with torch.no_grad():
            block.memory[chosen] = kept
