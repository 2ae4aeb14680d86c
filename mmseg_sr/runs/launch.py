"""Run a config by OpenMMLab's Runner: on GPUs or CPUs, in one process or several.

    cfg = load_config('configs/sr.py', {'train_cfg.max_iters': 100})
    runner = train(cfg)
    metrics = test(cfg, 'work_dirs/sr/iter_100.pth')

Datasets, network and checkpoint are built, read and checked before the Runner makes its first folder, so a mistake is
one :class:`UserError` and leaves nothing behind. The Runner gets the network; it does not build another.
"""

import copy
import inspect
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import sync_random_seed
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner, set_random_seed
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from ..checkpoints.reading import read_checkpoint
from ..checkpoints.resuming import RESUMES, resume_newest
from ..checkpoints.weights import check_finite, check_weights, plain_weights, without_blocks
from ..config import evaluators, prepare, require, with_tta
from ..datasets.build import build_dataset, check_files
from ..errors import UserError, blame, one_line
from ..hooks.data_guard import DataGuardHook
from ..hooks.loss_guard import LossGuardHook
from ..processes import is_first_process, process_group, quiet


def train(cfg: Config) -> Runner:
    """Train as a config says; ``resume`` and ``load_from`` in it as in OpenMMLab.

    Where it resumes without a ``load_from``, that is from the newest checkpoint of the work directory that is whole.

    Returns:
        The Runner, after training.

    Raises:
        UserError: For a mistake in the config, missing data, a start that does not fit, pretrained weights that
            cannot be fetched, mixed precision without a GPU, a full disk, a bad file, and a loss that is not finite.
        SystemExit: With status 143, after SIGTERM and what :class:`.PreemptionHook` does then.
    """
    cfg = prepare(cfg)
    require(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    if get_device() == 'cpu' and cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':
        raise UserError('mixed precision (--amp, AmpOptimWrapper) needs a GPU, and there is none')
    if cfg.get('resume') and not cfg.get('load_from'):
        cfg = resume_newest(cfg)
    with process_group(cfg):
        network = _build(cfg, 'train_dataloader', 'val_dataloader')
        if cfg.get('load_from'):
            _check_start(cfg, network.model)
        runner = _build_runner(cfg, network, cfg.get('load_from'))
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
        finally:
            runner.call_hook('release_sigterm')  # of PreemptionHook
    return runner


def test(cfg: Config, checkpoint: str | Path, tta: bool = False, without_sr: bool = False) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test data.

    Args:
        cfg: The config of the model. A stock ``IoUMetric`` in it is taken for ``ClassIoUMetric``, which gives the
            same numbers unrounded, and each class's.
        checkpoint: File of the weights, opened once; a stock model's too, then the SR blocks are the identity.
        tta: With the config's test-time augmentation.
        without_sr: With every SR block the identity, whatever the checkpoint has for it.

    Returns:
        Metrics by name, in every process.

    Raises:
        UserError: For a mistake in the config, missing data, or a checkpoint that does not fit the model.
    """
    cfg = prepare(cfg)
    require(cfg, 'model', 'test_dataloader', 'test_cfg', 'test_evaluator')
    for evaluator in evaluators(cfg):
        if evaluator.get('type') in ('IoUMetric', 'mmseg.IoUMetric'):
            evaluator['type'] = 'ClassIoUMetric'
    cfg = with_tta(cfg) if tta else cfg
    cfg.load_from, cfg.resume = str(checkpoint), False
    weights = read_checkpoint(checkpoint)
    with process_group(cfg):
        network = _build(cfg, 'test_dataloader')
        model = network.model.module if tta else network.model
        weights = without_blocks(weights, model) if without_sr else weights
        blocks = check_weights(model, weights, checkpoint)
        if blocks and is_first_process(cfg):
            reason = 'tested without' if without_sr else f'{checkpoint} has no'
            print_log(f'{reason} weights of {", ".join(blocks)}: identity there.', logger='current')
        runner = _build_runner(cfg, network)
        runner.register_hook(_Loaded(weights, checkpoint))
        del weights
        with blame('set up testing'):
            _ = runner.test_loop
        return runner.test()


class _Network(NamedTuple):
    """The network of a run, and what is random in it."""

    model: nn.Module
    randomness: dict  # with a seed, the config's or one that was drawn
    streams: tuple  # random numbers as they go on after it was built: Python's, numpy's and torch's


def _build(cfg: Config, *loaders: str) -> _Network:
    """Check the datasets, and build the network as mmengine's Runner would: with the same random numbers."""
    randomness = dict(cfg.get('randomness') or {})
    seed = randomness.get('seed')
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise UserError(f'randomness.seed (--seed) is a whole number from 0 to {2**32 - 1}, got {seed!r}')
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', copy.deepcopy(cfg.data_preprocessor))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        for name in loaders:
            if cfg.get(name):
                check_files(name, build_dataset(name, cfg[name]))
        randomness['seed'] = sync_random_seed() if seed is None else seed
        set_random_seed(**randomness)
        with blame('build the model'):
            model = MODELS.build(model)
    return _Network(model, randomness, (random.getstate(), np.random.get_state(), torch.get_rng_state()))


def _build_runner(cfg: Config, network: _Network, load_from: str | None = None) -> Runner:
    """Build the Runner around a network, with the hooks that guard its data and its loss."""
    names = inspect.signature(Runner).parameters.keys() - {'model', 'cfg', 'randomness', 'load_from'}
    given = {name: cfg[name] for name in names if cfg.get(name) is not None}
    given = copy.deepcopy(given | dict(randomness=network.randomness, load_from=load_from))
    with blame('build the runner'):
        runner = Runner(network.model, cfg=cfg, **given)
    runner._randomness_cfg['seed'] = (cfg.get('randomness') or {}).get('seed')  # else resuming warns of a drawn one
    for guard in (DataGuardHook, LossGuardHook):
        if not any(isinstance(hook, guard) for hook in runner.hooks):
            runner.register_hook(guard())
    random.setstate(network.streams[0])
    np.random.set_state(network.streams[1])
    torch.set_rng_state(network.streams[2])
    return runner


class _Loaded(Hook):
    """Tell the hooks of a checkpoint that was loaded before there was a Runner, as the Runner tells them."""

    priority = 'LOWEST'  # the others are set up

    def __init__(self, checkpoint: dict, source: str | Path):
        self.checkpoint, self.source = checkpoint, source

    def before_run(self, runner: Runner) -> None:
        runner.call_hook('after_load_checkpoint', checkpoint=self.__dict__.pop('checkpoint'))
        runner.logger.info(f'Load checkpoint from {self.source}')


def _check_start(cfg: Config, model: nn.Module) -> None:
    checkpoint = read_checkpoint(cfg.load_from)
    check_finite(plain_weights(checkpoint), cfg.load_from, buffers={name for name, _ in model.named_buffers()})
    with quiet('ERROR'):  # the Runner loads the same weights and says what there is to say
        if not cfg.get('resume'):
            # To start from other weights, in part too, is what load_from is for; an SR block says what cannot fit.
            with blame(f'start from {cfg.load_from}'):
                _load_checkpoint_to_model(model, checkpoint, logger='silent')
            return
        if not checkpoint.keys() >= RESUMES:
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
