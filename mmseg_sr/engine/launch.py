"""From a config and options to a run of OpenMMLab's Runner: on GPUs or CPUs, in one process or several.

    cfg = load_config('configs/sr.py', {'train_cfg.max_iters': 100})
    runner = train(cfg)
    metrics = test(cfg, 'work_dirs/sr/iter_100.pth')

A function that prepares a config returns another one: the caller's stays as it was. Whatever the user gave is tried
before the Runner makes its first folder, so a mistake is one :class:`UserError` and leaves nothing behind.
"""

import argparse
import contextlib
import copy
import functools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.error import URLError

import torch
import torch.distributed as dist
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import DATASETS, MODELS, RUNNERS, DefaultScope
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner import checkpoint as runner_checkpoint
from mmengine.utils import import_modules_from_strings
from torch import nn

from ..errors import UserError
from ..models.block import SRBlock

# ---------------------------------------------------------------------------------------------- options and configs


class OptionAction(DictAction):
    """``--cfg-options key=value ...`` as in OpenMMLab's tools, with a message for what is not ``key=value``."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        for value in values:
            if not re.match(r'[^=\s]+=', value):
                raise UserError(f'{option_string} takes key=value (no spaces around =), got {value!r}')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:
            raise UserError(f'{option_string}: {error}') from error

    @staticmethod
    def _parse_iterable(val: str) -> object:
        """Leave the spaces of a path alone, which mmengine drops from any value."""
        plain = not re.search(r'[,()\[\]]', val)
        return DictAction._parse_int_float_bool(val.strip('\'"')) if plain else DictAction._parse_iterable(val)


def run_arguments() -> argparse.ArgumentParser:
    """The arguments that train.py and test.py share, for ``argparse.ArgumentParser(parents=[...])``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--work-dir', help="folder of logs and checkpoints (default: work_dirs/ and the config's name)")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='overwrite values of the config: train_cfg.max_iters=100 model.pretrained=None crop_size="(512,1024)"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], help='what started the processes')
    # torch.distributed.launch hands over --local-rank, torch.distributed.run sets LOCAL_RANK.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def merge_options(options: dict | None, flags: dict) -> dict:
    """Merge a tool's own flags into its ``--cfg-options``. A flag that was not given is None.

    Raises:
        UserError: Where both give the same key different values.

    Example:
        >>> merge_options({'train_cfg.max_iters': 9}, {'randomness.seed': 0, 'work_dir': None})
        {'train_cfg.max_iters': 9, 'randomness.seed': 0}
    """
    merged = dict(options or {})
    for key, value in flags.items():
        if value is not None and merged.setdefault(key, value) != value:
            raise UserError(f'--cfg-options {key}={merged[key]} contradicts {value!r} given by its own argument')
    return merged


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config, merge options into it and import its ``custom_imports``.

    These are looked up beside the config and in the working directory too, wherever the tool lies. Without a
    ``work_dir`` the config gets ``work_dirs/<its name>``.

    Args:
        path: A config file of OpenMMLab's kinds.
        options: Values to overwrite, by dotted keys: ``{'train_cfg.max_iters': 100}``.

    Raises:
        UserError: For a file that is not there or does not make a config, or an option that does not fit it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'no such config: {path}')
    sys.path += [folder for folder in (str(path.resolve().parent), str(Path.cwd())) if folder not in sys.path]
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
        cfg.merge_from_dict(options or {})
        import_modules_from_strings(**(cfg.get('custom_imports') or {'imports': None}))
    except Exception as error:  # a config is the user's program: it can raise anything
        given = f' with {options}' if options else ''
        raise UserError(f'cannot read the config {path}{given}: {one_line(error)}') from error
    if not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / path.stem)
    return cfg


def prepare(cfg: Config) -> Config:
    """Fit a config to this machine: without a GPU, SyncBN becomes BN and several processes get a CPU's DDP."""
    cfg = copy.deepcopy(cfg)
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
        kind = node.get('type')
        if getattr(kind, '__name__', kind) in ('SyncBN', 'MMSyncBN', 'SyncBatchNorm'):
            node['type'] = 'BN'
            count = 1
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return 0
    return count + sum(_revert_sync_bn(child) for child in node)


def with_tta(cfg: Config) -> Config:
    """Set test-time augmentation: ``tta_pipeline`` and ``tta_model`` of the config, around its model."""
    _require(cfg, 'tta_model', 'tta_pipeline', 'test_dataloader')
    cfg = copy.deepcopy(cfg)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)
    return cfg


# -------------------------------------------------------------------------------------------------------- processes


def is_first_process(cfg: Config) -> bool:
    """Whether this process speaks for all. Known from the environment: before there is a process group, and after."""
    return cfg.get('launcher', 'none') == 'none' or _rank() == 0


def _rank() -> int:
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return int(next((os.environ[name] for name in names if name in os.environ), 0))


def first_process_speaks(main: Callable[[], None], patience: float = 10.0) -> Callable[[], None]:
    """Make the other processes wait with a :class:`UserError`, which all of them meet, for the first one's message.

    The launcher ends them as soon as the first process has spoken. After ``patience`` seconds they speak up: the
    mistake is their own then, a file that only their machine lacks, say.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except UserError as error:
            if _rank() == 0:
                raise
            time.sleep(patience)
            raise UserError(f'process {_rank()}: {error}') from error

    return run


@contextlib.contextmanager
def process_group(cfg: Config) -> Iterator[None]:
    """Join the processes of ``cfg.launcher`` for a ``with`` block: by gloo without a GPU, else the Runner does it."""
    launcher = cfg.get('launcher', 'none')
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError('--launcher pytorch is for tools/dist_train.sh and tools/dist_test.sh; leave it out here')
    if (
        launcher != 'none'
        and get_device() == 'cuda'
        and int(os.environ.get('LOCAL_RANK', 0)) >= torch.cuda.device_count()
    ):
        raise UserError(f'more processes on this machine than its {torch.cuda.device_count()} GPUs')
    joined = dist.is_initialized()
    if launcher != 'none' and get_device() == 'cpu' and not joined:
        if launcher != 'pytorch':
            raise UserError(f'--launcher {launcher} needs GPUs; on CPUs use tools/dist_train.sh or dist_test.sh')
        timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)  # seconds
        dist.init_process_group('gloo', timeout=timedelta(seconds=timeout))
    try:
        yield
    finally:
        if dist.is_initialized() and not joined:
            dist.destroy_process_group()


# ------------------------------------------------------------------------------------------------------ checkpoints


def read_checkpoint(source: str | Path) -> dict:
    """Read a checkpoint: a local file, of tensors and mmengine's bookkeeping only, or an address that mmengine knows.

    Raises:
        UserError: For a file that is not there, is no checkpoint or holds other Python objects.
    """
    if '://' in str(source):
        with blame(f'get {source}'):
            checkpoint = CheckpointLoader.load_checkpoint(str(source), map_location='cpu')
    elif not Path(source).is_file():
        raise UserError(f'no such checkpoint: {source}')
    else:
        try:
            checkpoint = _load_safely(str(source))
        except Exception as error:  # torch.load raises a dozen kinds on a file that it did not write
            kind = type(error).__name__
            raise UserError(f'{source} is no checkpoint, or holds more than one should ({kind})') from error
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError(f'{source} is no checkpoint: there are no weights in it')
    return checkpoint


def _load_safely(path: str) -> dict:
    allowed = getattr(runner_checkpoint, 'get_torch_safe_globals', None)
    if allowed is None or not hasattr(torch.serialization, 'safe_globals'):  # upstream mmengine, or torch < 2.5
        return CheckpointLoader.load_checkpoint(path, map_location='cpu')
    with torch.serialization.safe_globals(allowed()):
        return torch.load(path, map_location='cpu', weights_only=True)


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
        UserError: Names the first weights that are missing, not the model's, or of another shape.
    """
    weights = {re.sub(r'^module\.', '', key): value for key, value in checkpoint.get('state_dict', checkpoint).items()}
    excused = () if whole else ('auxiliary_head.',)
    weights = {key: value for key, value in weights.items() if not key.startswith(excused)}
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:  # other shapes: torch's own, an SR block's
        raise UserError(f'{source} does not fit the model: {one_line(error)[:500]}') from error

    modules = [] if whole else model.named_modules()
    blocks = [name for name, module in modules if isinstance(module, SRBlock) and not _keys_below(name, weights)]
    excused += tuple(f'{name}.' for name in blocks)
    missing = [key for key in missing if not key.startswith(excused) and not key.endswith('num_batches_tracked')]
    if missing or unexpected:
        faults = [f'{_first(missing)} missing'] * bool(missing) + [f'{_first(unexpected)} not in it'] * bool(unexpected)
        raise UserError(f'{source} does not fit the model: {"; ".join(faults)}')
    return blocks


def _keys_below(name: str, weights: dict) -> bool:
    return any(key.startswith(f'{name}.') for key in weights)


def _first(keys: list[str], count: int = 3) -> str:
    more = f' and {len(keys) - count} more' if len(keys) > count else ''
    return ', '.join(keys[:count]) + more


# -------------------------------------------------------------------------------------------------------------- runs


def build_runner(cfg: Config) -> Runner:
    """Build the Runner of a config on this machine.

    Raises:
        UserError: Where the config names what is not registered, lacks an argument or has a wrong one.
    """
    cfg = prepare(cfg)
    with blame('build the runner'):
        return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def train(cfg: Config) -> Runner:
    """Train as a config says; ``resume`` and ``load_from`` in it as in OpenMMLab.

    Returns:
        The Runner, after training.

    Raises:
        UserError: For a mistake in the config, missing data, a start that does not fit, pretrained weights that
            cannot be fetched, and mixed precision without a GPU.
    """
    cfg = prepare(cfg)
    _require(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    if get_device() == 'cpu' and cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':
        raise UserError('mixed precision (--amp, AmpOptimWrapper) needs a GPU, and there is none')
    with process_group(cfg):
        model = _try_parts(cfg, 'train_dataloader', 'val_dataloader')
        if cfg.get('load_from'):
            _try_start(cfg, model)
        runner = build_runner(cfg)
        # Runner.train would build the rest too; here a mistake in it is known to be the config's.
        with blame('set up training'):
            _ = runner.train_loop, runner.val_loop
        with blame(f'build the optimizer {cfg.optim_wrapper.get("optimizer")}'):
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        try:
            runner.train()
        except URLError as error:
            raise UserError(_no_download(cfg, error)) from error
        except FileNotFoundError as error:
            raise UserError(one_line(error)) from error
    return runner


def test(cfg: Config, checkpoint: str | Path, tta: bool = False) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test data.

    Args:
        cfg: The config of the model. A stock ``IoUMetric`` in it is taken for ``ClassIoUMetric``, which gives the
            same numbers unrounded, and each class's.
        checkpoint: File of the weights; a stock model's too, then the SR blocks are the identity.
        tta: With the config's test-time augmentation.

    Returns:
        Metrics by name, in every process.

    Raises:
        UserError: For a mistake in the config, missing data, or a checkpoint that does not fit the model.
    """
    cfg = prepare(cfg)
    _require(cfg, 'model', 'test_dataloader', 'test_cfg', 'test_evaluator')
    weights = read_checkpoint(checkpoint)
    with process_group(cfg):
        blocks = check_weights(_try_parts(cfg, 'test_dataloader'), weights, checkpoint)
        if blocks and is_first_process(cfg):
            print_log(f'{checkpoint} has no weights of {", ".join(blocks)}: identity there.', logger='current')
        cfg.load_from, cfg.resume = str(checkpoint), False
        for evaluator in evaluators(cfg):
            if evaluator.get('type') in ('IoUMetric', 'mmseg.IoUMetric'):
                evaluator['type'] = 'ClassIoUMetric'
        runner = build_runner(with_tta(cfg) if tta else cfg)
        with blame('set up testing'):
            _ = runner.test_loop
        return runner.test()


def evaluators(cfg: Config) -> list[dict]:
    """The configs of the test evaluators, of which a config may have one or a list."""
    _require(cfg, 'test_evaluator')
    return cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]


def _require(cfg: Config, *keys: str) -> None:
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise UserError(f'the config {cfg.filename or ""} has no {", ".join(missing)}')


def _try_parts(cfg: Config, *loaders: str) -> nn.Module:
    """Build the model and the datasets once: the Runner makes folders before it finds a mistake in them."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        for name in loaders:
            if cfg.get(name):
                _try_dataset(name, cfg[name])
        with blame('build the model'):
            return MODELS.build(copy.deepcopy(cfg.model))


def _try_dataset(name: str, loader: dict) -> None:
    with blame(f'build the dataset of {name}'):
        try:
            images = len(DATASETS.build(copy.deepcopy(loader['dataset'])))
        except ValueError as error:
            if 'at least one array' not in str(error):  # what mmengine makes of no images
                raise
            images = 0
    if not images:
        place = {key: loader['dataset'].get(key) for key in ('data_root', 'data_prefix', 'ann_file')}
        raise UserError(f'the dataset of {name} has no images: {place}')


def _try_start(cfg: Config, model: nn.Module) -> None:
    checkpoint = read_checkpoint(cfg.load_from)
    if not cfg.get('resume'):
        return  # to start from other weights, in part too, is what load_from is for
    if not {'meta', 'message_hub', 'optimizer'} <= checkpoint.keys():
        raise UserError(f'{cfg.load_from} has weights only and cannot be resumed; start from it by load_from=')
    check_weights(model, checkpoint, cfg.load_from, whole=True)


def _no_download(cfg: Config, error: URLError) -> str:
    places = [option for option, value in _addresses(cfg.model, 'model') if '://' in value]
    options = ' '.join(f'{place}=None' for place in places) or 'model.pretrained=None'
    return (
        f'cannot download the pretrained weights: {one_line(error)}. '
        f'To train without them: --cfg-options {options}; a local file can stand there instead of None'
    )


def _addresses(node: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value) of the pretrained weights that a model's config names."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ('pretrained', 'checkpoint') and isinstance(value, str):
            yield f'{path}.{key}' if key == 'pretrained' else path, value
        else:
            yield from _addresses(value, f'{path}.{key}')


# ------------------------------------------------------------------------------------------------------------ errors


@contextlib.contextmanager
def blame(task: str) -> Iterator[None]:
    """Turn what a wrong config raises inside a ``with`` block into a :class:`UserError`: cannot ``task``."""
    try:
        yield
    except UserError:
        raise
    except (AssertionError, ImportError, KeyError, OSError, TypeError, ValueError) as error:
        raise UserError(f'cannot {task}: {one_line(error)}') from error


def one_line(error: BaseException) -> str:
    """Say an error in one line; of one that a data worker hands on, the last line.

    Example:
        >>> one_line(KeyError('FCN is not in the registry'))
        'KeyError: FCN is not in the registry'
    """
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if 'Original Traceback' in text:
        return text.strip().splitlines()[-1]
    return f'{type(error).__name__}: {" ".join(text.split())}'
