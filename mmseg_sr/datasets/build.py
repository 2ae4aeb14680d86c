"""The datasets of a config: built, looked at before a run, and made to name the file that stops it."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmengine.registry import DATASETS, DefaultScope

from ..errors import UserError, blame, one_line
from .loading import check_loads, leaves, missing_files


def build_dataset(name: str, loader: dict) -> BaseDataset:
    """Build the dataset of a data loader's config.

    Args:
        name: What the message calls it: 'train_dataloader'.
        loader: Its config, which stays as it is.

    Raises:
        UserError: For what cannot be built, or a dataset without images.
    """
    with blame(f'build the dataset of {name}'):
        try:
            dataset = DATASETS.build(copy.deepcopy(loader['dataset']))
        except ValueError as error:
            if 'at least one array' not in str(error):  # what mmengine makes of no images
                raise
            dataset = ()
    if not len(dataset):
        place = {key: loader['dataset'].get(key) for key in ('data_root', 'data_prefix', 'ann_file')}
        raise UserError(f'the dataset of {name} has no images: {place}')
    return dataset


def build_datasets(cfg: Config) -> dict[str, BaseDataset]:
    """Build the datasets of a config's data loaders: 'train', 'val' and 'test', those that it has.

    Raises:
        UserError: As :func:`build_dataset`, and where there are none.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        datasets = {
            split: build_dataset(f'{split}_dataloader', cfg[f'{split}_dataloader'])
            for split in ('train', 'val', 'test')
            if cfg.get(f'{split}_dataloader')
        }
    if not datasets:
        raise UserError(f'the config {cfg.filename or ""} has no train_dataloader, val_dataloader or test_dataloader')
    return datasets


def check_files(name: str, dataset: BaseDataset) -> None:
    """Refuse a dataset of which files are missing, before a run comes to them.

    Raises:
        UserError: Names the first of them and their number.
    """
    missing = [path for leaf in leaves(dataset) if hasattr(leaf, 'pipeline') for path in missing_files(leaf)]
    if missing:
        first = ', '.join(missing[:3]) + (', ...' if len(missing) > 3 else '')
        raise UserError(
            f'{len(missing)} files of {name} are not there: {first}. tools/check_dataset.py CONFIG lists all'
        )


def labels_of(cfg: Config) -> tuple[int | None, int]:
    """The number of classes that a config's model has, None where it does not say, and the id that it ignores.

    Example:
        >>> labels_of(Config(dict(model=dict(decode_head=dict(num_classes=19)))))
        (19, 255)
    """
    model = cfg.get('model') or {}
    head = model.get('module', model).get('decode_head') or {}  # test-time augmentation wraps the model
    head = head[-1] if isinstance(head, (list, tuple)) else head
    return head.get('num_classes'), head.get('ignore_index', 255)


def channels_of(cfg: Config) -> int:
    """The number of channels of the images that a config's model takes; 3 where it does not say.

    Example:
        >>> channels_of(Config(dict(model=dict(backbone=dict(type='SRBackbone', backbone=dict(in_channels=4))))))
        4
    """
    model = cfg.get('model') or {}
    backbone = model.get('module', model).get('backbone') or {}
    channels = backbone.get('backbone', backbone).get('in_channels', 3)
    return channels if isinstance(channels, int) else 3


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


def read_picture(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image file as a test does: RGB (H, W, 3), uint8, upright.

    Args:
        path: The file.
        size: (height, width) to resize it to.

    Raises:
        UserError: Names the file that is no image.
    """
    try:
        image = mmcv.imread(str(path), channel_order='rgb')
    except Exception as error:  # each library that decodes has its own
        reason = one_line(error) if isinstance(error, OSError) else 'it is damaged, or none'
        raise UserError(f'cannot read the image {path}: {reason}') from error
    return image if size in (None, image.shape[:2]) else mmcv.imresize(image, size[::-1])


def test_pipeline(cfg: Config) -> list[dict]:
    """The steps by which a config loads its test images, as a copy."""
    pipelines = [
        ((cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}).get('pipeline') for split in ('val', 'test')
    ]
    default = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return copy.deepcopy(next(filter(None, [*pipelines, cfg.get('test_pipeline')]), default))


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
