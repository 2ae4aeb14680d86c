"""Rehearse a run before it makes its first folder: all of it is built, and a few pixels go through the network.

mmengine's Runner finds a mistake in a config when it comes to what the config says: a metric's name after the first
evaluation. Here its own code runs on a copy of the network in a temporary folder. Nothing of that is kept.
"""

import contextlib
import copy
import importlib.util
import inspect
import logging
import re
import tempfile
import warnings
from functools import partial
from numbers import Real
from urllib.error import URLError

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, EMAHook
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.visualization import Visualizer
from mmseg.evaluation import IoUMetric
from torch import nn

from ..checkpoints.loaders import check_own_loaders, pretrained_of
from ..datasets.classes import class_notes
from ..datasets.loading import BadFile
from ..errors import UserError, blame
from ..hooks.data_guard import DataGuardHook
from ..metrics.accuracy import ClassAccuracy
from ..processes import forgotten, quiet
from .first_batch import try_batch
from .runner import Network, build_runner


class Rehearsal(Runner):
    """Build what the Runner builds for a training or a test, and run one small batch instead of its loop."""

    notes: tuple[str, ...] = ()

    def build_logger(self, log_level: int | str = 'INFO', **_: object) -> MMLogger:
        logging.NullHandler(log_level)  # a level that there is
        return MMLogger.get_current_instance()

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        built = super().build_visualizer(visualizer)
        for backend in built._vis_backends.values():
            needs = re.findall(r'^ +(?:from|import) (\w+)', inspect.getsource(type(backend)._init_env), re.M)
            if not all(map(importlib.util.find_spec, needs)):
                backend._init_env()  # says what to install
        built._vis_backends = {}  # they would write files, and tell servers of a run
        return built

    def build_evaluator(self, evaluator: object) -> object:
        for each in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
            if isinstance(each, dict) and each.get('output_dir'):
                each['output_dir'] = self.work_dir
        return super().build_evaluator(evaluator)

    def build_optim_wrapper(self, optim_wrapper: dict) -> OptimWrapper:
        with blame(f'build the optimizer {self.cfg.optim_wrapper.get("optimizer")}'):
            return super().build_optim_wrapper(optim_wrapper)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        return self._replaced(super().build_train_loop(loop))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        return self._replaced(super().build_test_loop(loop))

    def _replaced(self, loop: BaseLoop) -> BaseLoop:
        loop.run = partial(self._run_one_batch, loop)
        return loop

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        return model.to(get_device())

    def call_hook(self, fn_name: str, **kwargs: object) -> None:
        for hook in self.hooks if fn_name in ('before_run', 'before_train') else ():
            if isinstance(hook, (EMAHook, EarlyStoppingHook)):  # they build and check, and do nothing else
                getattr(hook, fn_name)(self, **kwargs)

    def _init_model_weights(self) -> None:
        named = ', '.join(value for _, value in pretrained_of(self.cfg.model))
        task = f'start from {named} (a local file or None can stand there)' if named else 'initialise the weights'
        with blame(task, but=URLError):
            super()._init_model_weights()
            check_own_loaders(self.model)

    def _skip(self, *_: object) -> None: ...

    dump_config = load_or_resume = _log_env = _maybe_compile = _skip

    def _run_one_batch(self, loop: BaseLoop) -> None:
        del loop.run
        trains = loop is self._train_loop
        if trains:
            self.call_hook('before_train')
        if trains and self.val_loop is not None:
            _check_intervals(loop)
            _check_metric_names(self)
        self.notes = class_notes(self.cfg, loop.dataloader.dataset)
        DataGuardHook().before_run(self)
        try:
            try_batch(self.model.train(trains), loop.dataloader)
            if trains and self.val_loop is not None:
                try_batch(self.model.eval(), self.val_loop.dataloader)
        except BadFile as error:
            raise UserError('. '.join([str(error), *self.notes])) from error


def rehearse(cfg: Config, network: Network, test: bool = False) -> tuple[str, ...]:
    """Rehearse the training, or the test, of a config.

    The training's network is a copy, on the device of the run, and so are the datasets; its images are the first that
    the training will read. Random numbers are used: :func:`.build_runner` starts them anew.

    Returns:
        What is no mistake, but should be said.

    Raises:
        UserError: For what would end the run later.
        URLError: For pretrained weights that cannot be fetched.
    """
    cfg = copy.deepcopy(cfg)
    try:
        folder = tempfile.TemporaryDirectory()
        if not test:
            network = network._replace(model=revert_sync_batchnorm(copy.deepcopy(network.model)))
    except Exception:  # no room for it; torch copies most modules, not all
        return ()
    datasets = {}
    for name, dataset in network.datasets.items():  # reading an image may change one, or a step of its pipeline
        with contextlib.suppress(Exception):  # one that cannot be copied is built anew
            datasets[name] = copy.deepcopy(dataset)
    network = network._replace(datasets=datasets)
    with folder as cfg.work_dir, forgotten(), quiet('ERROR'), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the run will say it
        runner = build_runner(cfg, network, kind=Rehearsal)
        with blame(f'set up {"testing" if test else "training"}', but=URLError):
            runner.test() if test else runner.train()
        notes = runner.notes
        runner.__dict__.clear()  # it and its loops hold each other, and the copy
        del network
        torch.cuda.empty_cache()
    return notes


def _check_intervals(loop: BaseLoop) -> None:
    for interval in (getattr(loop, 'val_interval', 1), *getattr(loop, 'dynamic_intervals', ())):
        if not isinstance(interval, Real) or interval == 0:
            raise UserError(f'train_cfg.val_interval must be a whole number from 1, got {interval!r}')


def _check_metric_names(runner: Runner) -> None:
    """Refuse a hook that waits for a metric that no evaluation gives, where it is known what each gives."""
    savers = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    stoppers = [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook) and hook.strict]
    wanted = [('save_best', name) for hook in savers for name in hook.save_best or () if name != 'auto']
    wanted += [('monitor', hook.monitor) for hook in stoppers]
    try:
        names = [name for metric in runner.val_loop.evaluator.metrics for name in _names(metric)]
    except Exception:  # another loop, or a metric that wants more than a pixel
        return
    for option, name in wanted:
        if name not in names:
            raise UserError(f'{option}={name!r}: the evaluation gives {", ".join(names)}')


def _names(metric: object) -> list[str]:
    """The names under which a metric reports, from an image of one pixel."""
    if isinstance(metric, ClassAccuracy):
        metric = copy.copy(metric)
        metric.images_file = None
        return [*metric.compute_metrics([(0, 0, True, 'image')])]
    if not isinstance(metric, IoUMetric) or metric.format_only:
        raise TypeError('another metric')
    metric = copy.copy(metric)
    metric.results, metric.output_dir, metric.confusion_file = [], None, None
    pixel = {'data': torch.zeros(1, 1, 1, dtype=torch.long)}
    metric.process({}, [{'pred_sem_seg': pixel, 'gt_sem_seg': pixel}])
    found = metric.compute_metrics(metric.results)
    return [f'{metric.prefix}/{name}' if metric.prefix else name for name in found]
