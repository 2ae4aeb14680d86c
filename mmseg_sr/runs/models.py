"""Build the network of a config to look at, without a Runner, and fill it from a checkpoint."""

from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..checkpoints.reading import read_checkpoint
from ..checkpoints.weights import check_weights, dataset_meta_of
from ..config import prepare, require
from ..datasets.classes import listed
from ..errors import UserError, blame
from ..models.find import sr_blocks
from ..names import distinct


def load_model(cfg: Config, checkpoint: str | Path, whole: bool = False) -> nn.Module:
    """Build the model of a config with the weights of a checkpoint, in evaluation mode on this machine's device.

    Its ``dataset_meta`` is the checkpoint's, as with mmseg's ``init_model``; None if it has none.

    Args:
        cfg: The config.
        checkpoint: File of the weights.
        whole: Refuse a checkpoint without the weights of an SR block; else the block is the identity.

    Raises:
        UserError: For a config without a model, or a checkpoint that is none or does not fit.
    """
    return _filled(build_model(cfg), checkpoint, whole)


def _filled(model: nn.Module, checkpoint: str | Path, whole: bool) -> nn.Module:
    weights = read_checkpoint(checkpoint)
    missing = check_weights(model, weights, checkpoint)
    if missing and whole:
        raise UserError(f'{checkpoint} has no weights of {", ".join(missing)}: there is no memory to look at')
    model.dataset_meta = dataset_meta_of(weights)
    return model.eval().to(get_device())


def load_sr_model(cfg: Config, checkpoint: str | Path) -> nn.Module:
    """Build and fill as :func:`load_model` a model with SR blocks, from a checkpoint that has them."""
    model = build_model(cfg)
    if not sr_blocks(model):
        raise UserError(f'the model of {cfg.filename} has no SR block: there is no memory to look at')
    return _filled(model, checkpoint, whole=True)


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config, with random weights, for one process: SyncBN becomes BN."""
    require(cfg, 'model')
    cfg = prepare(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')), blame('build the model'):
        return revert_sync_batchnorm(MODELS.build(cfg.model))


def class_names(model: nn.Module, dataset: BaseDataset | None = None) -> tuple[list[str], list]:
    """Name and colour a model's classes: as the dataset, else the checkpoint does, else by numbers and greys.

    A segmentor of one channel has two classes, told apart by a threshold; if one has a name, the other is background.
    """
    channels = model.out_channels if hasattr(model, 'out_channels') else model.head.num_classes  # of a classifier
    count = max(channels, 2)
    greys = [[value] * 3 for value in np.linspace(0, 255, count).round().astype(int).tolist()]
    for meta in (getattr(dataset, 'metainfo', None), getattr(model, 'dataset_meta', None)):
        found = listed(meta or {})
        names, palette = found.get('classes', []), found.get('palette', greys)
        if len(names) == channels == 1:
            names, palette = ['background', *names], greys
        if len(names) == count:
            return distinct(names), np.broadcast_to(palette, (count, 3)).tolist()  # some have greys only
    return [f'class {index}' for index in range(count)], greys
