"""The datasets of a config: built, looked at before a run, and made to name the file that stops it."""

import copy

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, DefaultScope
from mmengine.runner import Runner

from ..datasets.loading import check_loads, leaves, missing_files
from ..errors import UserError, blame


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


@HOOKS.register_module()
class DataGuardHook(Hook):
    """Name the file that stops a run: one that cannot be read, labels of another size or with ids that are no class.

    The tools here use it in every run. With other tools: ``custom_hooks = [dict(type='DataGuardHook')]``. Each image
    and label map is looked at when it is loaded, in the data workers. Without it a GPU ends with a device-side assert
    at an id that is no class, and labels of another size can go unnoticed.
    """

    def before_run(self, runner: Runner) -> None:
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            loader = getattr(loop, 'dataloader', None)  # a loop that this run does not use is a config still
            for leaf in leaves(loader.dataset) if loader else ():
                if hasattr(leaf, 'pipeline'):
                    check_loads(leaf.pipeline, *labels_of(runner.cfg))
