"""Hold the weights of a checkpoint against the model before anything relies on them."""

from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn

from ..errors import UserError, one_line
from ..models.find import sr_blocks


def check_weights(model: nn.Module, checkpoint: dict, source: str | Path, whole: bool = False) -> list[str]:
    """Load a checkpoint's weights into a model, and refuse those that do not fill it; mmengine only logs that.

    Args:
        model: The segmentor that the config describes.
        checkpoint: What :func:`.read_checkpoint` returned.
        source: Where it came from, for messages.
        whole: Every weight must be there. Else SR blocks may be missing as a whole, as in a stock checkpoint, and
            auxiliary heads, which do not predict, may differ.

    Returns:
        Names of the SR blocks that are missing.

    Raises:
        UserError: Names the first weights that are missing, not the model's, of another shape, or not finite.
    """
    weights = plain_weights(checkpoint)
    excused = () if whole else ('auxiliary_head.',)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    weights = {
        key: value for key, value in weights.items() if not key.startswith(excused) or shapes.get(key) == value.shape
    }
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:  # other shapes: torch's own, an SR block's
        raise UserError(f'{source} does not fit the model: {one_line(error)[:500]}') from error

    blocks = [] if whole else sr_blocks(model)
    blocks = [name for name in blocks if not any(key.startswith(f'{name}.') for key in weights)]
    excused += tuple(f'{name}.' for name in blocks)
    missing = [key for key in missing if not key.startswith(excused) and not key.endswith('num_batches_tracked')]
    if missing or unexpected:
        faults = [f'{_first(missing)} missing'] * bool(missing) + [f'{_first(unexpected)} not in it'] * bool(unexpected)
        raise UserError(f'{source} does not fit the model: {"; ".join(faults)}')
    used = {key: value for key, value in weights.items() if not key.startswith(excused)}
    check_finite(used, source, buffers={name for name, _ in model.named_buffers()})
    return blocks


def check_finite(weights: dict[str, torch.Tensor], source: str | Path, buffers: Collection[str] = ()) -> None:
    """Refuse weights that are not numbers: a model predicts one class with them, and no error tells.

    Args:
        weights: Tensors by name.
        source: Where they came from, for messages.
        buffers: Names of those that may be infinite, as masks are, but not NaN.

    Raises:
        UserError: Names the first.

    Example:
        >>> check_finite({'mask': torch.tensor([0, -torch.inf])}, 'w.pth', buffers=['mask'])
    """
    for name, value in weights.items():
        if not is_finite(value) and (name not in buffers or value.isnan().any()):
            raise UserError(f'{source} holds weights that are no numbers: there is NaN or infinity in {name}')


def is_finite(value: torch.Tensor) -> bool:
    """Tell whether no number of a tensor is NaN or infinite, mostly by their sum, which is faster to have.

    Example:
        >>> is_finite(torch.tensor([3e38, 3e38])), is_finite(torch.tensor([1, torch.nan]))
        (True, False)
    """
    return not value.is_floating_point() or bool(value.sum().isfinite() or value.isfinite().all())


def plain_weights(checkpoint: dict) -> dict[str, torch.Tensor]:
    """Take the weights of a checkpoint by the names of the model itself, without a wrapper's ``module.``."""
    return {plain_name(key): value for key, value in checkpoint.get('state_dict', checkpoint).items()}


def dataset_meta_of(checkpoint: dict) -> dict | None:
    """Find the names ('classes') and colours ('palette') in a checkpoint of mmseg 1.x or 0.x; None without them.

    Example:
        >>> dataset_meta_of({'meta': {'CLASSES': ['road'], 'PALETTE': [[9, 9, 9]]}})
        {'classes': ['road'], 'palette': [[9, 9, 9]]}
    """
    meta = checkpoint.get('meta') or {}
    earlier = {name.lower(): meta[name] for name in ('CLASSES', 'PALETTE') if meta.get(name)}
    return meta.get('dataset_meta') or earlier or None


def plain_name(name: str) -> str:
    """Take the ``module.`` of a wrapper for several processes from the name of a weight."""
    return name.removeprefix('module.')


def without_blocks(checkpoint: dict, model: nn.Module) -> dict:
    """Leave the weights of the SR blocks of a model out of a checkpoint, so that the blocks stay the identity.

    Raises:
        UserError: For a model without an SR block.
    """
    below = tuple(f'{name}.' for name in sr_blocks(model))
    if not below:
        raise UserError('--without-sr: the model of the config has no SR block')
    weights = {key: value for key, value in plain_weights(checkpoint).items() if not key.startswith(below)}
    return {**checkpoint, 'state_dict': weights}


def _first(keys: list[str], count: int = 3) -> str:
    more = f' and {len(keys) - count} more' if len(keys) > count else ''
    return ', '.join(keys[:count]) + more
