"""Move a block's state between memory sizes: check what must fit, resize, let the optimizer forget.

Shape letters as in :mod:`.block`.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary

from ..openmmlab import is_stock
from .recall import plain_resize


@contextlib.contextmanager
def fit_state(block: nn.Module, state_dict: dict[str, Tensor], prefix: str) -> Iterator[None]:
    """Move the state of an SR block in ``state_dict`` to the block's own memory size, before it is loaded inside.

    ``state_dict`` is changed in place, and left alone where it is without this block, whose names begin by ``prefix``.

    Raises:
        ValueError: For a part of a block, and for another C, P, U or R; says what to set.
    """
    keys = keys_of(state_dict, prefix, block.memory_rank)
    missing = [key for key in keys if key not in state_dict]
    if missing and len(missing) < len(keys):
        raise ValueError(f'the checkpoint holds a part of an SR block only: {", ".join(missing)} is missing')
    moved = not missing and _move(block, state_dict, keys, prefix.rstrip('.') or 'SRBlock')
    yield
    if moved:
        start_anew(block.memory_parameters()[-1], block.gate[0].weight)


def _move(block: nn.Module, state_dict: dict[str, Tensor], keys: list[str], name: str) -> bool:
    """Check a block's tensors, resize them where the memory has another size, and say whether that was so."""
    tensors = [state_dict[key] for key in keys]
    wrong = _faults(block, tensors)
    if wrong:
        raise ValueError(f'{name}: {"; ".join(wrong)}. Only memory_size may differ')
    old_size = tuple(tensors[-1].shape[-2:])
    if old_size == block.memory_size:
        return False
    print_log(
        f'{name}: the memory of the checkpoint is {old_size}, it is resized to {block.memory_size}; '
        'where training is resumed, its momentum starts anew',
        logger='current',
        level=logging.WARNING,
    )
    state_dict[keys[1]] = resize_columns(tensors[1], old_size, block.memory_size)
    state_dict[keys[-1]] = plain_resize(tensors[-1], block.memory_size)
    return True


def _faults(block: nn.Module, tensors: list[Tensor]) -> list[str]:
    """Say what keeps the state of another block out of this one, whatever their memory sizes, and what to set."""
    found = options_of(*tensors)
    if found is None:
        shapes = [tuple(tensor.shape) for tensor in tensors]
        return [f'tensors of shapes {shapes} in the checkpoint do not make one SR block']
    wrong = []
    for key, theirs in found.items():
        ours = getattr(block, key)
        if ours != theirs and key == 'in_channels':
            advice = 'take the backbone and the stage that it was trained with'
            wrong.append(f'{key}={ours} in the config, the checkpoint has {theirs}: {advice}')
        elif ours != theirs:
            wrong.append(f'{key}={ours} in the config, the checkpoint has {theirs}: set {key}={theirs}')
    return wrong


def options_of(squeeze: Tensor, columns: Tensor, rows: Tensor, *memory: Tensor) -> dict[str, int | None] | None:
    """Read C, P, U and R from the tensors of a block.

    Args:
        squeeze: Its kernel (1, C, 1, 1).
        columns: Weights of the gate's first layer (U, H*W).
        rows: Those of its second layer (P, U).
        *memory: The memory (P, C, H, W) or, where it is of low rank, its vectors (P, C, R) and maps (P, R, H, W).

    Returns:
        The options of the block by their names; None where the tensors do not belong to one block.

    Example:
        >>> options_of(*map(torch.zeros, [(1, 8, 1, 1), (16, 6), (3, 16), (3, 8, 2, 3)]))
        {'in_channels': 8, 'num_memories': 3, 'hidden_channels': 16, 'memory_rank': None}
    """
    maps = memory[-1]
    if maps.dim() != 4 or columns.dim() != 2 or rows.dim() != 2:
        return None
    num_memories, in_channels, height, width = maps.shape
    rank = None
    if len(memory) == 2:
        if memory[0].dim() != 3 or memory[0].shape[::2] != maps.shape[:2]:
            return None
        in_channels, rank = memory[0].shape[1:]
        if rank > min(in_channels, height * width):
            return None
    hidden = columns.shape[0]
    consistent = (
        squeeze.shape == (1, in_channels, 1, 1)
        and columns.shape[1] == height * width
        and rows.shape == (num_memories, hidden)
    )
    found = dict(in_channels=in_channels, num_memories=num_memories, hidden_channels=hidden, memory_rank=rank)
    return found if consistent else None


def keys_of(state_dict: Mapping[str, Tensor], prefix: str, rank: int | None = None) -> list[str]:
    """List the keys under which a state dict has, or lacks, the tensors that :func:`options_of` takes.

    R of the block to fill, ``rank``, decides only where the state dict has no memory.

    Example:
        >>> keys_of({'sr.memory': torch.zeros(1)}, 'sr.', rank=4)
        ['sr.squeeze.weight', 'sr.gate.0.weight', 'sr.gate.1.weight', 'sr.memory']
    """
    full, low_rank = ('memory',), ('memory.channels', 'memory.maps')
    has_full, has_low_rank = (any(prefix + name in state_dict for name in form) for form in (full, low_rank))
    memory = low_rank if has_low_rank or (rank and not has_full) else full
    return [prefix + name for name in ('squeeze.weight', 'gate.0.weight', 'gate.1.weight', *memory)]


def resize_columns(columns: Tensor, old_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Move a linear layer (U, H*W) from maps of ``old_size`` to maps of ``size``.

    The new layer is the old one after a resize to ``old_size``: both are linear, so their product is a linear
    layer, here taken as the gradient of that product. Interpolating the columns and scaling them by the ratio of
    the areas is the same only for whole-number ratios; this keeps the answer to a constant map, and to every
    map that the resize policy would have shown the old layer, in all cases.
    """
    with torch.enable_grad():
        maps = columns.new_zeros(columns.shape[0], 1, *size).requires_grad_()
        weights = columns.detach().unflatten(1, (1, *old_size))
        (moved,) = torch.autograd.grad(plain_resize(maps, old_size), maps, weights)
    return moved.flatten(1)


_moved = WeakTensorKeyDictionary()  # parameters that were moved and have not been stepped since
_watching = []


def start_anew(*parameters: nn.Parameter) -> None:
    """Let the optimizer that steps these parameters next forget what it has kept of them, and nothing else.

    Momentum and second moments are sums of gradients to cells that are there no more. The gradient to a moved
    memory cannot be had from that to the old one (a resize has no inverse), and squares do not move linearly at
    all. So they start at zero, as for a new parameter: a momentum of 0.9 forgets its past in some 40 steps anyway.

    The optimizer loads its state apart from the model and does not look at shapes, before or after the model,
    with mmengine or without. Hence a look at its next step, by torch's own hook for all optimizers.
    """
    for parameter in parameters:
        _moved[parameter] = True
    if not _watching and not is_stock('moved'):
        _watching.append(register_optimizer_step_pre_hook(_forget))


def _forget(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    if not _moved:
        return
    for group in optimizer.param_groups:
        for parameter in group['params']:
            if _moved.pop(parameter, False):
                optimizer.state.pop(parameter, None)
