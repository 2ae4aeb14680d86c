"""Hold the weights of a checkpoint against the model before anything relies on them."""

from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn

from ..errors import UserError, one_line
from ..models.find import sr_blocks

COUNT = 'num_batches_tracked'  # of a BN layer: no weight


def check_weights(model: nn.Module, checkpoint: dict, source: str | Path, whole: bool = False) -> list[str]:
    """Load a checkpoint's weights into a model, and refuse those that do not fill it; mmengine only logs that.

    Args:
        model: The network that the config describes.
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
    missing = [key for key in missing if not key.startswith(excused) and not key.endswith(COUNT)]
    if missing or unexpected:
        faults = [f'{_first(missing)} missing'] * bool(missing) + [f'{_first(unexpected)} not in it'] * bool(unexpected)
        raise UserError(f'{source} does not fit the model: {"; ".join(faults)}')
    used = {key: value for key, value in weights.items() if not key.startswith(excused)}
    check_finite(used, source, buffers={name for name, _ in model.named_buffers()})
    return blocks


def check_some_fit(model: nn.Module, weights: dict[str, torch.Tensor], source: str | Path, prefix: str = '') -> None:
    """Refuse weights of which not one fits a model: mmengine only warns of that, and trains from scratch.

    The message says before which names of the file, or of the model, what would have to stand.

    Args:
        model: The network, or the part of it, that is to start from them.
        weights: Tensors by name.
        source: Where they came from, for messages.
        prefix: What is taken from the names; names without it are another part's.

    Example:
        >>> check_some_fit(nn.Linear(2, 1), {'model.bias': torch.ones(1)}, 'w.pth')
        Traceback (most recent call last):
        ...
        mmseg_sr.errors.UserError: no weight of w.pth fits Linear: 1 of 1 would without 'model.' before the names in it
    """
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    weights = {name: value for name, value in weights.items() if not name.endswith(COUNT)}  # which always fits
    taken = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if _fitting(taken, shapes) or _is_used(model, taken):
        return
    ways = {f'without {start!r} before the names in it': _fitting(weights, shapes, start) for start in _starts(weights)}
    ways |= {
        f'with {start!r} before the names in it': _fitting(weights, shapes, put=start) for start in _starts(shapes)
    }
    ways['without a prefix'] = _fitting(weights, shapes) if prefix else 0
    way = max(ways, key=ways.get)
    reason = f'{ways[way]} of {len(weights)} would {way}'
    if not ways[way]:
        reason = f'it has {_first(list(weights)) or "nothing"}; the model {_first(list(shapes))}'
        if other := next((name for name in taken if name in shapes), None):
            reason = f"its {other} is {tuple(taken[other].shape)}, and the model's {tuple(shapes[other])}"
    after = f' after prefix {prefix!r}' if prefix else ''
    raise UserError(f'no weight of {source}{after} fits {type(model).__name__}: {reason}')


def _starts(names: Collection[str]) -> set[str]:
    """What ends in a dot at the beginning of names."""
    return {name[: place + 1] for name in names for place, letter in enumerate(name) if letter == '.'}


def _fitting(weights: dict, shapes: dict, taken: str = '', put: str = '') -> int:
    """Count the weights that fit when ``taken`` goes from the beginning of their names, and ``put`` comes there."""
    names = {put + name[len(taken) :]: weight for name, weight in weights.items() if name.startswith(taken)}
    return sum(name in shapes and getattr(weight, 'shape', None) == shapes[name] for name, weight in names.items())


def _is_used(model: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    """Whether a model that renames or resizes what it loads makes use of any of the weights."""
    try:
        return len(model.load_state_dict(dict(weights), strict=False).unexpected_keys) < len(weights)
    except RuntimeError:  # their shapes
        return False


def check_finite(weights: dict[str, torch.Tensor], source: str | Path, buffers: Collection[str] = ()) -> None:
    """Refuse weights that are not numbers: a model predicts one class with them, and no error tells.

    Args:
        weights: Tensors by name.
        source: Where they came from, for messages.
        buffers: Names of those that may be infinite, as masks are, but not NaN.

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
    earlier = {name.lower(): meta[name] for name in ('CLASSES', 'PALETTE') if meta.get(name) is not None}
    return meta.get('dataset_meta') or earlier or None


def plain_name(name: str) -> str:
    """Take the ``module.`` of a wrapper for several processes from the name of a weight."""
    return name.removeprefix('module.')


def without_blocks(checkpoint: dict, model: nn.Module) -> dict:
    """Leave the weights of a model's SR blocks, of which there must be one, out of a checkpoint."""
    below = tuple(f'{name}.' for name in sr_blocks(model))
    if not below:
        raise UserError('--without-sr: the model of the config has no SR block')
    weights = {key: value for key, value in plain_weights(checkpoint).items() if not key.startswith(below)}
    return {**checkpoint, 'state_dict': weights}


def _first(keys: list[str], count: int = 3) -> str:
    more = f' and {len(keys) - count} more' if len(keys) > count else ''
    return ', '.join(keys[:count]) + more
