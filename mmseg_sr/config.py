"""Read configs, change them by options, and fit them to the machine. The caller's config stays as it was."""

import copy
import importlib.util
import logging
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from .errors import UserError, one_line
from .installed import source
from .kinds import is_kind
from .names import find_config
from .options import unread_options
from .processes import is_first_process

SYNC_BN = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm', 'torch.nn.SyncBatchNorm')
TRUST = 'MMSEG_SR_TRUST_CHECKPOINT'  # the environment variable by which a user lets checkpoints run code


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config, merge options into it and import its ``custom_imports``.

    These are looked up beside the config and in the working directory too, wherever the tool lies. Without a
    ``work_dir`` the config gets ``work_dirs/<its name>``.

    Args:
        path: A config file of OpenMMLab's kinds, or what :func:`.find_config` knows by name.
        options: Values to overwrite, by dotted keys: ``{'train_cfg.max_iters': 100}``.

    Raises:
        UserError: For a file that is not there or does not make a config, or an option that does not fit it.
    """
    path = find_config(path)
    sys.path += [folder for folder in (str(path.resolve().parent), str(Path.cwd())) if folder not in sys.path]
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
        unread = unread_options(cfg, options or {})
        cfg.merge_from_dict(options or {})
        if is_classifier(cfg) and not importlib.util.find_spec('mmpretrain'):
            raise ImportError(f'classifiers are those of mmpretrain: pip install "{source()}[classification]"')
        import_modules_from_strings(**(cfg.get('custom_imports') or {'imports': None}))
    except Exception as error:  # a config is the user's program: it can raise anything
        given = f' with {options}' if options else ''
        raise UserError(f'cannot read the config {path}{given}: {one_line(error)}') from error
    if not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / path.stem)
    for line in unread if is_first_process(cfg) else ():
        print_log(line, logger='current', level=logging.WARNING)
    return cfg


def prepare(cfg: Config) -> Config:
    """Fit a config to this machine: without a GPU, SyncBN becomes BN and several processes get a CPU's DDP.

    A ``data_preprocessor`` that stands beside the model, as in mmpretrain's configs, becomes the model's.

    Raises:
        UserError: For a config that asks for another Runner or a ``strategy``.
    """
    cfg = copy.deepcopy(cfg)
    if cfg.get('runner_type', 'Runner') != 'Runner' or cfg.get('strategy'):
        raise UserError(
            "the tools run mmengine's Runner, over several processes with DDP: leave out runner_type and strategy"
        )
    if cfg.get('model') and cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    if get_device() != 'cpu':
        return cfg
    if cfg.get('sync_bn'):
        cfg.sync_bn = None  # mmengine's switch that turns BN into SyncBN
    if _revert_sync_bn(cfg._cfg_dict) and is_first_process(cfg):
        print_log('There is no GPU: SyncBN runs as BN, in each process by itself.', logger='current')
    if cfg.get('launcher', 'none') != 'none':
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    return cfg


def _revert_sync_bn(node: object) -> int:
    """Turn every SyncBN below ``node`` into BN, in place, and count them."""
    count = 0
    if isinstance(node, dict):
        if is_kind(node, 'MODELS', *SYNC_BN):
            node['type'], count = 'BN', 1
        node = list(node.values())
    return count + sum(map(_revert_sync_bn, node if isinstance(node, (list, tuple)) else ()))


def with_tta(cfg: Config) -> Config:
    """Set test-time augmentation: ``tta_pipeline`` and ``tta_model`` of the config, around its model."""
    require(cfg, 'tta_model', 'tta_pipeline', 'test_dataloader')
    cfg = copy.deepcopy(cfg)
    cfg.test_dataloader['dataset'] = set_pipeline(dataset_of(cfg, 'test_dataloader'), cfg.tta_pipeline)
    cfg.model = dict(cfg.tta_model, module=cfg.model)
    return cfg


def with_amp(cfg: Config) -> Config:
    """Let mmengine's AmpOptimWrapper run the config's optimizer."""
    require(cfg, 'optim_wrapper')
    cfg = copy.deepcopy(cfg)
    wrapper = cfg.optim_wrapper
    if 'type' in wrapper and not is_kind(wrapper, 'OPTIM_WRAPPERS', 'OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(f'--amp works with OptimWrapper only, and the config has {wrapper.type}')
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')
    return cfg


def dataset_of(cfg: Config, name: str) -> dict:
    """Return the config of the dataset of a data loader, such as 'test_dataloader'; {} without such a loader."""
    loader = cfg.get(name) or {'dataset': {}}
    if not isinstance(loader, dict) or not isinstance(loader.get('dataset'), dict):
        raise UserError(
            f'{name} must be one data loader, dict(dataset=dict(...), ...); several sets are a ConcatDataset'
        )
    return loader['dataset']


def leaf_datasets(dataset: dict) -> list[dict]:
    """List the configs of the datasets that have files, below what repeats, mixes or strings them together."""
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    return [leaf for each in inner if each for leaf in leaf_datasets(each)] or [dataset]


def set_pipeline(dataset: dict, pipeline: list[dict]) -> dict:
    """Set the pipeline of a dataset's config, in place, and return it without what mixes images, such as a mosaic."""
    for leaf in leaf_datasets(dataset):
        leaf['pipeline'] = pipeline
    while 'pipeline' in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def is_classifier(cfg: Config) -> bool:
    """Tell whether a config is that of a classifier, one of mmpretrain's."""
    return cfg.get('default_scope') == 'mmpretrain'


def require_segmentor(cfg: Config) -> Config:
    """Return the config of a segmentor as it is; refuse that of a classifier, for what is not made for these."""
    if is_classifier(cfg):
        raise UserError(f'{cfg.filename} is the config of a classifier, and this is for segmentors only')
    return cfg


def evaluators(cfg: Config) -> list[dict]:
    """Return the configs of the test evaluators, of which a config may have one or a list."""
    require(cfg, 'test_evaluator')
    return cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]


def require(cfg: Config, *keys: str) -> None:
    """Refuse a config that lacks one of its top-level ``keys``."""
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise UserError(f'the config {cfg.filename or ""} has no {", ".join(missing)}')
