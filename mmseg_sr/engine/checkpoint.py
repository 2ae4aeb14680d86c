"""Checkpoints: read safely, and held against the model before anything relies on them."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection
from pathlib import Path

import safetensors
import torch
from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader
from torch import nn

from ..analysis.probe import sr_blocks
from ..errors import UserError, blame, one_line
from .loading import load

DIGEST = re.compile(r'-([0-9a-f]{8})$')  # how the name of a published file ends: the first digits of its sha256


def read_checkpoint(source: str | Path) -> dict:
    """Read a checkpoint: a local file, of tensors and mmengine's bookkeeping only, or an address that mmengine knows.

    Args:
        source: A .pth or a .safetensors file, or an address.

    Raises:
        UserError: For a file that is not there, is no checkpoint, holds other Python objects, or is a published one
            and not the one that its name says.
    """
    if '://' in str(source):
        with blame(f'get {source}'):
            checkpoint = CheckpointLoader.load_checkpoint(str(source), map_location='cpu')
    elif not Path(source).is_file():
        raise UserError(f'no such checkpoint: {source}')
    else:
        checkpoint = _read_file(Path(source))
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.items())):
        raise UserError(f'{source} is no checkpoint: there are no weights in it')
    if not isinstance(checkpoint.get('meta', {}), dict):
        raise UserError(f'{source} is no checkpoint: what is in its meta is none')
    return checkpoint


def _is_weight(item: tuple[object, object]) -> bool:
    name, value = item
    return isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout is torch.strided


def _read_file(path: Path) -> dict:
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    checkpoint = load(path)
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    versions = meta.get('versions') if isinstance(meta, dict) else None
    # Of .pth files only those published here are known to end in their own sha256, and not in a date, say.
    if isinstance(versions, dict) and 'mmseg_sr' in versions:
        _check_digest(path)
    return checkpoint


def _read_safetensors(path: Path) -> dict:
    _check_digest(path)
    try:
        with safetensors.safe_open(path, framework='pt') as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}
            return {'meta': _plain_meta(file.metadata() or {}), 'state_dict': weights}
    except Exception as error:  # damage has many shapes
        raise UserError(f'{path} is no checkpoint ({one_line(error)[:300]})') from error


def _plain_meta(texts: dict[str, str]) -> dict:
    """Turn a safetensors header's texts into mmengine's ``meta``: what is JSON there becomes what it says."""
    meta = dict(texts)
    for key, text in texts.items():
        if key != 'cfg':
            with contextlib.suppress(ValueError, RecursionError):
                meta[key] = json.loads(text)
    return meta


def _check_digest(path: Path) -> None:
    named = DIGEST.search(path.stem)
    if not named:
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(named[1]):
        raise UserError(
            f'{path} is damaged or was renamed: its name says sha256 {named[1]}..., and it is {digest[:8]}... '
            'Get it again; or, where these are no digits of a sha256, give it another name'
        )


@CheckpointLoader.register_scheme(prefixes=r'(?!\S+://).*\.safetensors$', force=True)
def load_from_safetensors(filename: str, map_location: str | torch.device | None = None) -> dict:
    """Read a safetensors file for mmengine: ``load_from``, ``init_model`` and ``MMSegInferencer`` take it by this.

    Args:
        filename: Local file.
        map_location: Device of the weights; None for the CPU.

    Raises:
        UserError: As :func:`read_checkpoint`.
    """
    checkpoint = read_checkpoint(os.path.expanduser(filename))
    if map_location is not None:
        checkpoint['state_dict'] = {key: value.to(map_location) for key, value in checkpoint['state_dict'].items()}
    return checkpoint


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
        UserError: Names the first weights that are missing, not the model's, of another shape, or not finite.
    """
    weights = plain_weights(checkpoint)
    excused = () if whole else ('auxiliary_head.',)
    weights = {key: value for key, value in weights.items() if not key.startswith(excused)}
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:  # other shapes: torch's own, an SR block's
        raise UserError(f'{source} does not fit the model: {one_line(error)[:500]}') from error

    blocks = [] if whole else [name for name in sr_blocks(model) if not _keys_below(name, weights)]
    excused += tuple(f'{name}.' for name in blocks)
    missing = [key for key in missing if not key.startswith(excused) and not key.endswith('num_batches_tracked')]
    if missing or unexpected:
        faults = [f'{_first(missing)} missing'] * bool(missing) + [f'{_first(unexpected)} not in it'] * bool(unexpected)
        raise UserError(f'{source} does not fit the model: {"; ".join(faults)}')
    check_finite(weights, source, buffers={name for name, _ in model.named_buffers()})
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
        if value.is_floating_point() and not value.isfinite().all():
            if name not in buffers or value.isnan().any():
                raise UserError(f'{source} holds weights that are no numbers: there is NaN or infinity in {name}')


def plain_weights(checkpoint: dict) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint by the names of the model itself, without a wrapper's ``module.``."""
    return {re.sub(r'^module\.', '', key): value for key, value in checkpoint.get('state_dict', checkpoint).items()}


class BlockRemoval(Hook):
    """Leave the weights of a model's SR blocks out of what a Runner loads: they stay as built, the identity.

    Args:
        model: The model that the config describes.

    Raises:
        UserError: Where it has no SR block.
    """

    priority = 'VERY_HIGH'  # before an EMAHook copies the weights

    def __init__(self, model: nn.Module):
        self.names = list(sr_blocks(model))
        if not self.names:
            raise UserError('--without-sr: the model of the config has no SR block')

    def after_load_checkpoint(self, runner: object, checkpoint: dict) -> None:
        weights = checkpoint.get('state_dict', checkpoint)
        below = tuple(f'{prefix}{name}.' for name in self.names for prefix in ('', 'module.'))
        for key in [key for key in weights if key.startswith(below)]:
            del weights[key]


def _keys_below(name: str, weights: dict) -> bool:
    return any(key.startswith(f'{name}.') for key in weights)


def _first(keys: list[str], count: int = 3) -> str:
    more = f' and {len(keys) - count} more' if len(keys) > count else ''
    return ', '.join(keys[:count]) + more
