"""From a config and a checkpoint to a model and images to look at, without a Runner."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch import nn

from ..analysis.probe import sr_blocks
from ..datasets.loading import check_loads
from ..errors import UserError, blame
from .checkpoint import check_weights, read_checkpoint
from .config import prepare


def load_model(cfg: Config, checkpoint: str | Path) -> nn.Module:
    """Build the model of a config with the weights of a checkpoint, in evaluation mode on this machine's device.

    SR blocks that the checkpoint does not have are the identity.

    Raises:
        UserError: For a config without a model, or a checkpoint that is none or does not fit.
    """
    weights = read_checkpoint(checkpoint)
    model = build_model(cfg)
    check_weights(model, weights, checkpoint)
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


def load_split(cfg: Config, split: str) -> BaseDataset:
    """Build the dataset of ``split`` ('train' or 'val'), without augmentation: with the pipeline of validation.

    Raises:
        UserError: For a config without it, or data that are not there.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise UserError(f'the config {cfg.filename or ""} has no {split}_dataloader')
    dataset = copy.deepcopy(loader['dataset'])
    _set_pipeline(dataset, test_pipeline(cfg))
    place = {key: dataset.get(key) for key in ('data_root', 'data_prefix')}
    with _scope(cfg), blame(f'build the dataset of {split}'):
        try:
            built = DATASETS.build(dataset)
        except ValueError as error:
            if 'at least one array' not in str(error):  # what mmengine makes of no images
                raise
            built = ()
    if not len(built):
        raise UserError(f'the dataset of {split} has no images: {place}')
    return built


def spread(length: int, count: int) -> list[int]:
    """Choose ``count`` of ``length`` images, evenly over all of them: neighbours show the same street.

    Example:
        >>> spread(101, 5), spread(3, 50)
        ([0, 25, 50, 75, 100], [0, 1, 2])
    """
    return np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()


def load_images(cfg: Config, files: Sequence[str | Path]) -> list[dict]:
    """Read image files as the config tests them, but for labels.

    Returns:
        ``inputs`` and ``data_samples`` of each.

    Raises:
        UserError: For a file that is not there or is no image.
    """
    pipeline = [step for step in test_pipeline(cfg) if step['type'] != 'LoadAnnotations']
    with _scope(cfg), blame('build the test pipeline'):
        pipeline = Compose(pipeline)
    check_loads(pipeline, None, 255)
    samples = []
    for file in files:
        if not Path(file).is_file():
            raise UserError(f'no such image: {file}')
        with blame(f'read the image {file}'):
            samples.append(pipeline(dict(img_path=str(file))))
    return samples


def read_picture(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """Read the colours (height, width, 3) of an image, at the ``size`` of its prediction."""
    image = mmcv.imread(str(path), channel_order='rgb')
    return image if image.shape[:2] == tuple(size) else mmcv.imresize(image, size[::-1])


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


def test_pipeline(cfg: Config) -> list[dict]:
    """The steps by which a config loads its test images, as a copy."""
    pipelines = [
        ((cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}).get('pipeline') for split in ('val', 'test')
    ]
    default = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return copy.deepcopy(next(filter(None, [*pipelines, cfg.get('test_pipeline')]), default))


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


def _set_pipeline(dataset: dict, pipeline: list[dict]) -> None:
    """Set the pipeline of a dataset's config, or of those it wraps or strings together."""
    if 'pipeline' in dataset:
        dataset['pipeline'] = pipeline
    inner = dataset.get('dataset', dataset.get('datasets', ()))
    for each in inner if isinstance(inner, (list, tuple)) else [inner]:
        _set_pipeline(each, pipeline)


@contextlib.contextmanager
def _scope(cfg: Config) -> Iterator[None]:
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        yield
