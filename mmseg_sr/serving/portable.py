"""SR blocks in the form that is exported: plain PyTorch, resized or not by choice, constant recall folded into a bias.

Shape letters as in :mod:`mmseg_sr.models.block`.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..models.block import SRBlock
from ..models.low_rank import factors
from ..models.recall import plain_resize


class PortableBlock(nn.Module):
    """An SR block whose path is chosen when it is made, not by the shape of its input: a graph has no such choice.

    The gate works in float32 whatever the rest does, as in the block.

    Args:
        block: The block; its weights are shared.
        resized: Whether squeezed map and weighted sum are resized. At the trained size that changes nothing.

    Example:
        >>> block, x = SRBlock(in_channels=2, memory_size=(3, 4)), torch.randn(1, 2, 3, 4)
        >>> torch.equal(PortableBlock(block, resized=False)(x), block(x))
        True
    """

    form = 'recall'

    def __init__(self, block: SRBlock, resized: bool):
        super().__init__()
        self.squeeze, self.gate, self.memory = block.squeeze, block.gate, block.memory
        self.low_rank, self.memory_shape = block.memory_rank is not None, block.memory_shape
        self.resized = resized

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x`` (N, C, h, w) what is remembered for it."""
        squeezed = self.squeeze(x)  # (N, 1, h, w)
        if self.resized:
            squeezed = plain_resize(squeezed, self.memory_shape[-2:])  # (N, 1, H, W)
        weights = self.gate(squeezed.flatten(1).float()).to(x.dtype)  # (N, P)
        if self.low_rank:
            vectors, maps = factors(weights, self.memory.channels, self.memory.maps)
            maps = plain_resize(maps, x.shape[-2:]) if self.resized else maps
            return x + (vectors @ maps.flatten(2)).view(x.shape)
        recalled = torch.mm(weights, self.memory.flatten(1)).unflatten(1, self.memory_shape[1:])  # (N, C, H, W)
        return x + (plain_resize(recalled, x.shape[-2:]) if self.resized else recalled)


class BiasBlock(nn.Module):
    """An SR block whose weights are the same for every image: its weighted sum (C, H, W), added.

    Args:
        bias: The weighted sum.
        resized: Whether it is resized to the input's size.

    Example:
        >>> BiasBlock(torch.ones(1, 2, 2), resized=False)(torch.zeros(1, 1, 2, 2)).unique()
        tensor([1.])
    """

    form = 'bias'

    def __init__(self, bias: Tensor, resized: bool):
        super().__init__()
        self.register_buffer('bias', bias[None])  # (1, C, H, W)
        self.resized = resized

    def forward(self, x: Tensor) -> Tensor:
        """Add the bias to ``x`` (N, C, h, w)."""
        return x + (plain_resize(self.bias, x.shape[-2:]) if self.resized else self.bias)


@torch.no_grad()
def constant_weights(block: SRBlock) -> Tensor | None:
    """The softmax weights (P,) of a block, where they are the same for every input; else None.

    They are with one memory, and where a layer of zeros keeps the input from the softmax.

    Example:
        >>> constant_weights(SRBlock(in_channels=2, memory_size=(3, 4), num_memories=1))
        tensor([1.])
        >>> constant_weights(SRBlock(in_channels=2, memory_size=(3, 4), num_memories=2)) is None
        True
    """
    layers = (block.squeeze, block.gate[0], block.gate[1])
    if block.num_memories > 1 and all(layer.weight.any() for layer in layers):
        return None
    squeezed = block.squeeze.bias.expand(1, block.gate[0].in_features)
    return block.gate(squeezed)[0]


def make_portable(
    model: nn.Module, sizes: Mapping[str, tuple[int, int]] | None, recall: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Copy a model with its SR blocks in the form that is exported. The model stays as it was.

    A block of a subclass with its own ``forward`` is left as it is.

    Args:
        model: Any module with SR blocks, or without.
        sizes: (h, w) of the map that each block gets, by its name, where the model is to take one size only: a block
            of that size has no resize then. None for any size.
        recall: Weights (P,) by the name of a block that is to recall the same for every image. Blocks that do so by
            themselves need none.

    Raises:
        UserError: For weights of a block that is not there, or has another number of memories.
    """
    model = copy.deepcopy(model)
    blocks = {name: each for name, each in model.named_modules() if type(each).forward is SRBlock.forward}
    recall = {name: torch.as_tensor(weights, dtype=torch.float32) for name, weights in (recall or {}).items()}
    for name, weights in recall.items():
        if name not in blocks:
            raise UserError(f'there are weights of {name}, and the model has these SR blocks: {", ".join(blocks)}')
        if weights.shape != (blocks[name].num_memories,):
            raise UserError(f'{name} has {blocks[name].num_memories} memories, and its weights are {weights.tolist()}')
    for name, block in blocks.items():
        weights = recall.get(name, constant_weights(block))
        resized = sizes is None or sizes[name] != block.memory_size
        model.set_submodule(name, _portable(block, weights, resized))
    return model


def _portable(block: SRBlock, weights: Tensor | None, resized: bool) -> nn.Module:
    if weights is None:
        return PortableBlock(block, resized)
    with torch.no_grad():
        blocks = block.memory_blocks()
        return BiasBlock(torch.einsum('p,pchw->chw', weights.to(blocks), blocks), resized)
