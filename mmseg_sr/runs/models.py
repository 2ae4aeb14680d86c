"""From a config and a checkpoint to a model and images to look at, without a Runner."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..checkpoints.reading import read_checkpoint
from ..checkpoints.weights import check_weights
from ..config import prepare
from ..errors import UserError, blame
from ..models.find import sr_blocks


def load_model(cfg: Config, checkpoint: str | Path, whole: bool = False) -> nn.Module:
    """Build the model of a config with the weights of a checkpoint, in evaluation mode on this machine's device.

    SR blocks that the checkpoint does not have are the identity or, with ``whole``, refused.

    Raises:
        UserError: For a config without a model, or a checkpoint that is none or does not fit.
    """
    weights = read_checkpoint(checkpoint)
    model = build_model(cfg)
    missing = check_weights(model, weights, checkpoint)
    if missing and whole:
        raise UserError(f'{checkpoint} has no weights of {", ".join(missing)}')
    return model.eval().to(get_device())


def load_sr_model(cfg: Config, checkpoint: str | Path) -> nn.Module:
    """As :func:`load_model`, for a model with SR blocks and a checkpoint that has them.

    Raises:
        UserError: For a model or a checkpoint without an SR block too.
    """
    weights = read_checkpoint(checkpoint)
    model = build_model(cfg)
    if not sr_blocks(model):
        raise UserError(f'the model of {cfg.filename} has no SR block: there is no memory to look at')
    missing = check_weights(model, weights, checkpoint)
    if missing:
        raise UserError(f'{checkpoint} has no weights of {", ".join(missing)}: there is no memory to look at')
    return model.eval().to(get_device())


def class_names(model: nn.Module, dataset: BaseDataset | None, checkpoint: str | Path) -> tuple[list[str], list]:
    """Names and colours of a model's classes: the dataset's, else the checkpoint's, else numbers and greys."""
    count = model.out_channels
    metas = [getattr(dataset, 'metainfo', {}), read_checkpoint(checkpoint).get('meta', {}).get('dataset_meta')]
    for meta in metas:
        if meta and len(meta.get('classes') or ()) == count:
            palette = np.broadcast_to(meta.get('palette') or _greys(count), (count, 3))  # some have greys only
            return list(meta['classes']), palette.tolist()
    return [f'class {index}' for index in range(count)], _greys(count)


def _greys(count: int) -> list[list[int]]:
    return [[value] * 3 for value in np.linspace(0, 255, count).round().astype(int).tolist()]


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config, with random weights, for one process: SyncBN becomes BN.

    Raises:
        UserError: For a config without a model, or a wrong one.
    """
    if cfg.get('model') is None:
        raise UserError(f'the config {cfg.filename or ""} has no model')
    cfg = prepare(cfg)
    with _scope(cfg), blame('build the model'):
        return revert_sync_batchnorm(MODELS.build(cfg.model))


@contextlib.contextmanager
def _scope(cfg: Config) -> Iterator[None]:
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        yield
