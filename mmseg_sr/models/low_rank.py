"""Hold a memory of low rank: each memory block is a few vectors over the channels times as many maps.

Shape letters as in :mod:`.block`, and R the rank.
"""

import math
from itertools import product

import torch
from torch import Tensor, nn

from .recall import plain_resize


class LowRankMemory(nn.Module):
    """Hold P memory blocks ``channels[p] @ maps[p]`` in ``P * R * (C + H*W)`` numbers instead of ``P*C*H*W``.

    The vectors start at zero, so the memory does; the maps start as the smoothest there are, the cosines of the lowest
    frequencies. A vector's gradient is then a sum over all cells, like a bias's, where that to a cell of a full memory
    comes from this cell alone.

    Raises:
        ValueError: For a rank above C or H*W, which no memory block has.

    Example:
        >>> memory = LowRankMemory(num_memories=3, channels=8, size=(4, 6), rank=2)
        >>> memory_blocks(*memory.parameters()).shape, sum(part.numel() for part in memory.parameters())
        (torch.Size([3, 8, 4, 6]), 192)
    """

    def __init__(self, num_memories: int, channels: int, size: tuple[int, int], rank: int):
        super().__init__()
        cells = math.prod(size)
        if rank > min(channels, cells):
            raise ValueError(
                f'memory_rank={rank} is above min(C, H*W) = {min(channels, cells)}: '
                f'a memory of {channels} channels and {cells} cells has no higher rank'
            )
        self.channels = nn.Parameter(torch.empty(num_memories, channels, rank))
        self.maps = nn.Parameter(torch.empty(num_memories, rank, *size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Zero the vectors, and give each memory block the same maps: :func:`cosines`."""
        nn.init.zeros_(self.channels)
        with torch.no_grad():
            self.maps.copy_(cosines(*self.maps.shape[1:]))

    def extra_repr(self) -> str:
        (num_memories, channels, rank), size = self.channels.shape, tuple(self.maps.shape[-2:])
        return f'{num_memories}, {channels}, size={size}, rank={rank}'


def low_rank_recall_add(x: Tensor, weights: Tensor, channels: Tensor, maps: Tensor) -> Tensor:
    """Compute what :func:`.recall.recall_add` does with :func:`memory_blocks`, without making them.

    ``channels`` are the vectors (P, C, R), ``maps`` is (P, R, H, W). One matrix product an image with the addition. At
    another size than (H, W) the P*R maps are resized, not the C of the sum.
    """
    vectors, maps = factors(weights.to(x.dtype), channels, maps)
    return add_product(x, vectors, maps if maps.shape[-2:] == x.shape[-2:] else plain_resize(maps, x.shape[-2:]))


def factors(weights: Tensor, channels: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Write the weighted sum of the memory blocks as vectors (N, C, P*R) times maps (1, P*R, H, W) for all images."""
    vectors = weights[:, None, :, None] * channels.to(weights.dtype).transpose(0, 1)  # (N, C, P, R)
    return vectors.flatten(2), maps.to(weights.dtype).flatten(0, 1)[None]


def add_product(x: Tensor, vectors: Tensor, maps: Tensor) -> Tensor:
    """Add to ``x`` (N, C, h, w) vectors (N, C, P*R) times maps (N or 1, P*R, h, w); ``x`` keeps its layout."""
    maps = maps.flatten(2).expand(len(x), -1, -1)  # (N, P*R, h*w)
    if x.is_contiguous():
        return torch.baddbmm(x.flatten(2), vectors, maps).view_as(x)
    rows = torch.baddbmm(x.permute(0, 2, 3, 1).flatten(1, 2), maps.mT, vectors.mT)  # (N, h*w, C)
    return rows.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2)


def cosines(count: int, height: int, width: int) -> Tensor:
    """Make the smoothest maps (count, H, W): the two-dimensional cosines (DCT-II) of the lowest frequencies.

    They are orthogonal, and each has a mean square of 1.

    Example:
        >>> cosines(2, height=1, width=2)
        tensor([[[ 1.,  1.]],
        <BLANKLINE>
                [[ 1., -1.]]])
    """
    sides = (range(min(side, count)) for side in (height, width))  # below a higher one are count others already
    pairs = sorted(product(*sides), key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))
    lines = [_cosine(i, height)[:, None] * _cosine(j, width) for i, j in pairs[:count]]
    return torch.stack(lines).float()


def _cosine(frequency: int, cells: int) -> Tensor:
    """A line of half waves (cells,)."""
    line = torch.cos(math.pi * frequency * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells)
    return line * math.sqrt(2) if frequency else line


def memory_blocks(*parts: Tensor) -> Tensor:
    """Make the memory blocks (P, C, H, W) of what a memory consists of: themselves, or vectors and maps.

    Example:
        >>> memory_blocks(torch.ones(3, 8, 2), torch.ones(3, 2, 4, 6)).shape
        torch.Size([3, 8, 4, 6])
    """
    return parts[0] if len(parts) == 1 else torch.einsum('pcr,prhw->pchw', *parts)


def block_norms(*parts: Tensor) -> Tensor:
    """Compute the Euclidean norms (P,) of the memory blocks, without a copy of them or making them.

    Example:
        >>> parts = torch.ones(1, 4, 2), torch.ones(1, 2, 5, 5)
        >>> block_norms(*parts), memory_blocks(*parts).norm()
        (tensor([20.], dtype=torch.float64), tensor(20.))
    """
    if len(parts) == 1:
        return torch.linalg.vector_norm(
            parts[0], dim=(1, 2, 3), dtype=torch.promote_types(parts[0].dtype, torch.float32)
        )
    vectors, maps = parts[0].double(), parts[1].double().flatten(2)
    squares = ((vectors.mT @ vectors) * (maps @ maps.mT)).sum((1, 2))  # of products of R x R: never C x H x W
    return squares.clamp(min=0).sqrt()
