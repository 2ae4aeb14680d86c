"""Build the datasets of a config, and load images as the config tests them."""

import copy
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmengine.registry import DATASETS, DefaultScope

from ..config import dataset_of, leaf_datasets, set_pipeline
from ..errors import UserError, blame, one_line
from ..kinds import is_kind
from .classes import model_part, odd_line
from .loading import check_loads, leaves, missing_files, samples

SOURCES = {  # as configs/_base_/datasets has them: variable, its default, what makes these data
    'CITYSCAPES_ROOT': ('data/cityscapes', 'tools/prepare_cityscapes.py makes it of the archives'),
    'CAMVID_ROOT': ('data/camvid', 'CamVidDataset in mmseg_sr/datasets/camvid.py says which files it has'),
    'IDD_LITE_ROOT': ('data/idd_lite', 'configs/_base_/datasets/idd_lite.py says which files it has'),
    'ADE20K_ROOT': ('data/ade/ADEChallengeData2016', 'mmseg says where to get it'),
    'VOC_ROOT': ('data/VOCdevkit/VOC2012', 'mmseg says where to get it'),
    'CIFAR10_ROOT': ('data/cifar10', 'tools/prepare_cifar.py makes it of the archive'),
    'CIFAR100_ROOT': ('data/cifar100', 'tools/prepare_cifar.py makes it of the archive'),
    'IMAGENET_ROOT': ('data/imagenet', 'it is the official one, in train/ and val/'),
    'MINI_CITYSCAPES_ROOT': ('data/mini_cityscapes', 'tools/make_mini_cityscapes.py makes it'),
}


def build_dataset(name: str, loader: dict) -> BaseDataset:
    """Build the dataset of a data loader's config, which messages call by ``name``, such as 'train_dataloader'."""
    given = dataset_of({name: loader}, name)
    with blame(f'build the dataset of {name}'):
        try:
            dataset = DATASETS.build(copy.deepcopy(given))
        except FileNotFoundError as error:
            message = f'cannot build the dataset of {name}: {one_line(error)}{advice_on(given)}'
            raise UserError(message) from error
        except ValueError as error:
            if 'at least one array' not in str(error):  # mmengine's error where there are no images
                scope = DefaultScope.get_current_instance()
                lists = leaf_datasets(given) if scope and scope.scope_name == 'mmpretrain' else []
                reason = next(filter(None, map(odd_line, lists)), one_line(error))
                raise UserError(f'cannot build the dataset of {name}: {reason}') from error
            dataset = ()
    if not len(dataset):
        place = {key: given.get(key) for key in ('data_root', 'data_prefix', 'ann_file')}
        raise UserError(f'the dataset of {name} has no images: {place}{advice_on(given)}')
    return dataset


def advice_on(dataset: dict) -> str:
    """Say what makes the data of a config of ours, and which variable says where they are; '' for other data."""
    for variable, (default, source) in SOURCES.items():
        if f"'data_root': '{os.environ.get(variable, default)}'" in str(dataset):
            return f'. {source}; where the data are elsewhere, {variable} says where'
    return ''


def build_datasets(cfg: Config) -> dict[str, BaseDataset]:
    """Build the datasets of a config's data loaders: 'train', 'val' and 'test', those that it has, one at least."""
    names = {split: f'{split}_dataloader' for split in ('train', 'val', 'test')}
    with _scope(cfg):
        datasets = {split: build_dataset(name, cfg[name]) for split, name in names.items() if cfg.get(name)}
    if not datasets:
        raise UserError(f'the config {cfg.filename or ""} has no train_dataloader, val_dataloader or test_dataloader')
    return datasets


def check_data(cfg: Config, *splits: str) -> None:
    """Build the datasets of these splits ('train', 'val', 'test'), those that a config has; look for their files."""
    with _scope(cfg):
        for name in (f'{split}_dataloader' for split in splits):
            if cfg.get(name):
                check_files(name, build_dataset(name, cfg[name]))


def load_split(cfg: Config, split: str) -> BaseDataset:
    """Build the dataset of a split ('train' or 'val') with the pipeline of validation: without augmentation."""
    name = f'{split}_dataloader'
    if cfg.get(name) is None:
        raise UserError(f'the config {cfg.filename or ""} has no {name}')
    cfg = copy.deepcopy(cfg)
    loader = cfg[name]
    loader['dataset'] = set_pipeline(dataset_of(cfg, name), test_pipeline(cfg))
    with _scope(cfg):
        return build_dataset(name, loader)


def check_files(name: str, dataset: BaseDataset) -> None:
    """Refuse a dataset with missing files before a run comes to them; name the first of them, and their number."""
    missing = [path for leaf in leaves(dataset) if hasattr(leaf, 'pipeline') for path in missing_files(leaf)]
    if missing:
        first = ', '.join(missing[:3]) + (', ...' if len(missing) > 3 else '')
        advice = 'tools/check_dataset.py CONFIG lists all'
        raise UserError(f'{len(missing)} files of {name} are not there: {first}. {advice}')


def channels_of(cfg: Config) -> int:
    """Read from a config the number of channels of the images that its model takes; 3 where it does not say.

    Example:
        >>> channels_of(Config(dict(model=dict(backbone=dict(type='SRBackbone', backbone=dict(in_channels=4))))))
        4
    """
    backbone = model_part(cfg, 'backbone')
    channels = backbone.get('backbone', backbone).get('in_channels', 3)
    return channels if isinstance(channels, int) else 3


def test_pipeline(cfg: Config) -> list[dict]:
    """Copy the steps by which a config loads its test images."""
    known = (leaf_datasets(dataset_of(cfg, f'{split}_dataloader'))[0].get('pipeline') for split in ('val', 'test'))
    found = chain(known, [cfg.get('test_pipeline')])
    return copy.deepcopy(next(filter(None, found), [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]))


def load_images(cfg: Config, files: Sequence[str | Path]) -> list[dict]:
    """Read image files as the config tests them, without labels: ``inputs`` and ``data_samples`` of each."""
    with _scope(cfg), blame('build the test pipeline'):
        pipeline = Compose([step for step in test_pipeline(cfg) if not is_kind(step, 'TRANSFORMS', 'LoadAnnotations')])
    check_loads(pipeline, None, 255)
    samples = []
    for file in files:
        if not Path(file).is_file():
            raise UserError(f'no such image: {file}')
        with blame(f'read the image {file}'):
            samples.append(pipeline(dict(img_path=str(file))))
    return samples


def read_picture(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image file as a test does, and resize it to (height, width) if asked: RGB (H, W, 3), uint8, upright."""
    try:
        image = mmcv.imread(str(path), channel_order='rgb')
    except Exception as error:  # each library that decodes has its own
        reason = one_line(error) if isinstance(error, OSError) else 'it is damaged, or no picture'
        raise UserError(f'cannot read the image {path}: {reason}') from error
    return image if size in (None, image.shape[:2]) else mmcv.imresize(image, size[::-1])


def check_pictures(dataset: BaseDataset) -> None:
    """Refuse a dataset to be drawn whose images (the first tells) are no picture files: arrays, say."""
    read_picture(samples(leaves(dataset)[0])[0]['img_path'])


def spread(length: int, count: int) -> list[int]:
    """Choose ``count`` of ``length`` images, evenly over all of them: neighbours show the same street.

    Example:
        >>> spread(101, 5), spread(3, 50)
        ([0, 25, 50, 75, 100], [0, 1, 2])
    """
    return np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()


def _scope(cfg: Config) -> AbstractContextManager:
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg'))
