"""Checkpoints: read safely, and held against the model before anything relies on them."""

import re
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as runner_checkpoint
from torch import nn

from ..errors import UserError, blame, one_line
from ..models.block import SRBlock


def read_checkpoint(source: str | Path) -> dict:
    """Read a checkpoint: a local file, of tensors and mmengine's bookkeeping only, or an address that mmengine knows.

    Raises:
        UserError: For a file that is not there, is no checkpoint or holds other Python objects.
    """
    if '://' in str(source):
        with blame(f'get {source}'):
            checkpoint = CheckpointLoader.load_checkpoint(str(source), map_location='cpu')
    elif not Path(source).is_file():
        raise UserError(f'no such checkpoint: {source}')
    else:
        try:
            checkpoint = _load_safely(str(source))
        except Exception as error:  # torch.load raises a dozen kinds on a file that it did not write
            kind = type(error).__name__
            raise UserError(f'{source} is no checkpoint, or holds more than one should ({kind})') from error
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError(f'{source} is no checkpoint: there are no weights in it')
    return checkpoint


def _load_safely(path: str) -> dict:
    allowed = getattr(runner_checkpoint, 'get_torch_safe_globals', None)
    if allowed is None or not hasattr(torch.serialization, 'safe_globals'):  # upstream mmengine, or torch < 2.5
        return CheckpointLoader.load_checkpoint(path, map_location='cpu')
    with torch.serialization.safe_globals(allowed()):
        return torch.load(path, map_location='cpu', weights_only=True)


def check_weights(model: nn.Module, checkpoint: dict, source: str | Path, whole: bool = False) -> list[str]:
    """Load a checkpoint's weights into ``model`` to see that they fill it; mmengine only logs where they do not.

    Args:
        model: The segmentor that the config describes.
        checkpoint: What :func:`read_checkpoint` returned.
        source: Where it came from, for messages.
        whole: Every weight must be there. Else SR blocks may be missing as a whole, as in a stock checkpoint, and
            auxiliary heads, which do not predict, may differ.

    Returns:
        Names of the SR blocks that are missing.

    Raises:
        UserError: Names the first weights that are missing, not the model's, or of another shape.
    """
    weights = {re.sub(r'^module\.', '', key): value for key, value in checkpoint.get('state_dict', checkpoint).items()}
    excused = () if whole else ('auxiliary_head.',)
    weights = {key: value for key, value in weights.items() if not key.startswith(excused)}
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:  # other shapes: torch's own, an SR block's
        raise UserError(f'{source} does not fit the model: {one_line(error)[:500]}') from error

    modules = [] if whole else model.named_modules()
    blocks = [name for name, module in modules if isinstance(module, SRBlock) and not _keys_below(name, weights)]
    excused += tuple(f'{name}.' for name in blocks)
    missing = [key for key in missing if not key.startswith(excused) and not key.endswith('num_batches_tracked')]
    if missing or unexpected:
        faults = [f'{_first(missing)} missing'] * bool(missing) + [f'{_first(unexpected)} not in it'] * bool(unexpected)
        raise UserError(f'{source} does not fit the model: {"; ".join(faults)}')
    return blocks


def _keys_below(name: str, weights: dict) -> bool:
    return any(key.startswith(f'{name}.') for key in weights)


def _first(keys: list[str], count: int = 3) -> str:
    more = f' and {len(keys) - count} more' if len(keys) > count else ''
    return ', '.join(keys[:count]) + more
