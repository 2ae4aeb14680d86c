"""Bring a network with SR blocks into the form that is exported. Shape letters as in :mod:`mmseg_sr.models.block`."""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn

from ..errors import UserError
from ..models.block import SRBlock
from ..models.find import sr_blocks
from ..models.low_rank import factors
from ..models.recall import plain_resize
from ..scene.scene_block import SceneSRBlock
from .metadata import Metadata
from .network import ServedNetwork


class PortableBlock(nn.Module):
    """Compute an SR block in plain PyTorch, with its weights, on a path that the input does not choose.

    Args:
        block: The block.
        resized: Whether squeezed map and weighted sum are resized. At the trained size that changes nothing.
        weights: The softmax weights (P,), where they are the same for every image: the weighted sum is a bias then.
    """

    def __init__(self, block: SRBlock, resized: bool, weights: Tensor | None = None):
        super().__init__()
        self.low_rank, self.memory_shape = block.memory_rank is not None, block.memory_shape
        self.resized, self.is_bias = resized, weights is not None
        if self.is_bias:
            memory = block.memory_blocks()
            self.register_buffer('bias', torch.einsum('p,pchw->chw', weights.to(memory), memory)[None])  # (1, C, H, W)
        else:
            self.squeeze, self.gate, self.memory = block.squeeze, block.gate, block.memory

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x`` (N, C, h, w) what is remembered for it."""
        if self.is_bias:
            return x + self._fit(self.bias, x)
        squeezed = self.squeeze(x)  # (N, 1, h, w)
        if self.resized:
            squeezed = plain_resize(squeezed, self.memory_shape[-2:])  # (N, 1, H, W)
        weights = self.gate(squeezed.flatten(1).float()).to(x.dtype)  # (N, P); in float32, as in the block
        if self.low_rank:
            vectors, maps = factors(weights, self.memory.channels, self.memory.maps)  # (N, C, P*R), (1, P*R, H, W)
            return x + (vectors @ self._fit(maps, x).flatten(2)).view(x.shape)
        recalled = torch.mm(weights, self.memory.flatten(1)).unflatten(1, self.memory_shape[1:])  # (N, C, H, W)
        return x + self._fit(recalled, x)

    def _fit(self, maps: Tensor, x: Tensor) -> Tensor:
        return plain_resize(maps, x.shape[-2:]) if self.resized else maps


def _is_known(block: SRBlock) -> bool:
    kind = type(block)
    return kind.forward is SRBlock.forward and kind.recall_add in (SRBlock.recall_add, SceneSRBlock.recall_add)


def _constant_weights(block: SRBlock) -> Tensor | None:
    """The softmax weights (P,), where there is one memory or a layer of zeros keeps the input from the softmax."""
    if block.num_memories > 1 and all(layer.weight.any() for layer in (block.squeeze, *block.gate[:2])):
        return None
    return block.gate(block.squeeze.bias.expand(1, block.gate[0].in_features))[0]


@torch.no_grad()
def make_portable(model: nn.Module, sizes: Mapping | None, recall: Mapping | None = None) -> nn.Module:
    """Copy a model with its SR blocks in the form that is exported; those of other subclasses are copied as they are.

    Args:
        model: Any module with SR blocks, or without.
        sizes: (h, w) of the map that each block gets, by its name, where the model is to take one size only: a block
            of that size has no resize then. None for any size.
        recall: Weights (P,) by the name of a block that is to recall the same for every image; those that fit no
            block are a ``UserError``.
    """
    model = copy.deepcopy(model)
    blocks = {name: block for name, block in sr_blocks(model).items() if _is_known(block)}
    recall = {name: torch.as_tensor(weights, dtype=torch.float32) for name, weights in (recall or {}).items()}
    for name, weights in recall.items():
        if name not in blocks:
            raise UserError(f'there are weights of {name}, and the model has these SR blocks: {", ".join(blocks)}')
        if weights.shape != (blocks[name].num_memories,):
            raise UserError(f'{name} has {blocks[name].num_memories} memories, and its weights are {weights.tolist()}')
    for name, block in blocks.items():
        resized = sizes is None or sizes[name] != block.memory_size
        model.set_submodule(name, PortableBlock(block, resized, recall.get(name, _constant_weights(block))))
    return model


def read_recall(option: str, path: Path) -> dict[str, list[float]]:
    """Read the mean weights of each block from what tools/ablate.py wrote; another file is a ``UserError``."""
    try:
        document = json.loads(path.read_text(encoding='utf-8'))
        (only,) = document.get('checkpoints', [document])
        return {name: [float(each) for each in row] for name, row in only['static_weights'].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        wanted = f'{option} takes what tools/ablate.py --out wrote of one checkpoint'
        raise UserError(f'{wanted}, and {path} is none') from error


def portable_network(
    model: nn.Module, metadata: Metadata, recall: Mapping | None = None
) -> tuple[ServedNetwork, Metadata]:
    """Make the network that is exported, and its metadata, from a copy of a segmentor or classifier, on the CPU.

    ``metadata`` has the ``size``, ``output`` and ``precision`` that are wanted; a network that cannot take images of
    that size is a ``UserError``. ``recall`` as for :func:`make_portable`.
    """
    model, half = model.cpu(), metadata.precision == 'float16'
    if metadata.size is None:
        _check_any_size(model)
    copied = make_portable(model, _map_sizes(model, metadata.size) if metadata.size else None, recall)
    copied._modules.pop('auxiliary_head', None)  # it predicts nothing
    network = ServedNetwork(copied, labels=metadata.output == 'labels', half=half).eval()
    rows = []
    for name, block in copied.named_modules():
        if isinstance(block, PortableBlock):
            form, memories = ('bias', 1) if block.is_bias else ('recall', block.memory_shape[0])
            shape = [memories, *block.memory_shape[1:]]
            rows.append(dict(name=name, form=form, resized=block.resized, memory=shape))
            if half and not block.is_bias:
                block.gate.float()
    return network, replace(metadata, blocks=rows)


def _check_any_size(model: nn.Module) -> None:
    fixed = [name for name, block in sr_blocks(model).items() if not block.resize]
    if fixed:
        advice = 'export with --shape; a segmentor predicts larger images with --mode slide'
        raise UserError(f'{", ".join(fixed)} has resize=False: {advice}')
    # The tracer cannot follow either: it takes the example's padding, and its sides, for those of all images.
    if ServedNetwork(model).padding:
        raise UserError('the data preprocessor pads images in tests: export with --shape')
    if any(isinstance(module, Conv2dAdaptivePadding) for module in model.modules()):
        raise UserError('Conv2dAdaptivePadding pads by the size of the image: export with --shape')
    if getattr(model, 'align_corners', False):
        raise UserError('a network with align_corners=True: export with --shape')


@torch.no_grad()
def _map_sizes(model: nn.Module, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """The sizes (h, w) of the maps that the SR blocks of a network get for an image of ``size``, by name."""
    sizes: dict[str, tuple[int, int]] = {}
    handles = [
        block.register_forward_pre_hook(lambda block, args, name=name: sizes.update({name: tuple(args[0].shape[-2:])}))
        for name, block in sr_blocks(model).items()
    ]
    try:
        ServedNetwork(model)(torch.zeros(1, 3, *size, dtype=torch.uint8))
    except (RuntimeError, ValueError) as error:
        raise UserError(f'the network cannot take an image of {size[0]}x{size[1]} (height x width): {error}') from error
    finally:
        for handle in handles:
            handle.remove()
    return sizes
