"""Build mmengine's Runner around a network that is built, and a checkpoint that is loaded, before it makes a folder."""

import contextlib
import copy
import inspect
import os
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import sync_random_seed
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner, set_random_seed
from torch import nn
from torch.utils.data import Dataset

from ..datasets.build import build_dataset, check_files
from ..errors import UserError, blame
from ..hooks.data_guard import DataGuardHook
from ..hooks.kept_schedule import KeptSchedule
from ..hooks.loss_guard import LossGuardHook


class Network(NamedTuple):
    """The network and the datasets of a run, and what is random in it."""

    model: nn.Module
    randomness: dict  # with a seed, the config's or one that was drawn
    streams: bytes  # of random numbers, as they go on after it was built
    datasets: dict[str, Dataset]  # by the names of their data loaders


def build_network(cfg: Config, *loaders: str) -> Network:
    """Build and check the datasets of these data loaders, and build the network as the Runner would, to the bit."""
    randomness = dict(cfg.get('randomness') or {})
    seed = randomness.get('seed')
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise UserError(f'randomness.seed (--seed) is a whole number from 0 to {2**32 - 1}, got {seed!r}')
    datasets = {}
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        for name in filter(cfg.get, loaders):
            before = _streams()
            dataset = build_dataset(name, cfg[name])
            check_files(name, dataset)
            if _streams() == before:  # else the Runner builds it, with the random numbers of its seed
                datasets[name] = dataset
        randomness['seed'] = sync_random_seed() if seed is None else seed
        if randomness.get('deterministic'):  # without it torch refuses matrix products on a GPU, as in the block's gate
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        set_random_seed(**randomness)
        with blame('build the model'):
            model = MODELS.build(copy.deepcopy(cfg.model))
    return Network(model, randomness, _streams(), datasets)


def _streams() -> bytes:
    """The states of Python's, numpy's and torch's streams of random numbers."""
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy()))


def build_runner(cfg: Config, network: Network, load_from: str | None = None, kind: type[Runner] = Runner) -> Runner:
    """Build the Runner around a network and its datasets, with the hooks that guard its data and its loss."""
    names = inspect.signature(Runner).parameters.keys() - {'model', 'cfg'}
    given = copy.deepcopy({name: cfg[name] for name in names if cfg.get(name) is not None})
    given.update(randomness=dict(network.randomness), load_from=load_from)
    for name, dataset in network.datasets.items():
        given[name]['dataset'] = dict(type=lambda built=dataset: built)  # the Runner would copy the dataset itself
    runner = kind.__new__(kind)
    with blame('build the runner'), _undone(runner, Path(cfg.work_dir)):
        runner.__init__(network.model, cfg=cfg, **given)
    runner._randomness_cfg['seed'] = (cfg.get('randomness') or {}).get('seed')  # else resuming warns of a drawn one
    for guard in (DataGuardHook, LossGuardHook, KeptSchedule):
        if not any(isinstance(hook, guard) for hook in runner.hooks):
            runner.register_hook(guard())
    python, numpy, of_torch = pickle.loads(network.streams)
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(torch.from_numpy(of_torch))
    return runner


@contextlib.contextmanager
def _undone(runner: Runner, work_dir: Path) -> Iterator[None]:
    """Take the folders away again where a Runner cannot be built: a server for its log does not answer, say."""
    new = [folder for folder in (work_dir, *work_dir.parents) if not folder.exists()]
    try:
        yield
    except Exception:
        shutil.rmtree(getattr(runner, '_log_dir', None) or '', ignore_errors=True)  # its name is the time of the start
        with contextlib.suppress(OSError):  # others may have written there meanwhile
            for folder in new:
                folder.rmdir()
        raise


class Loaded(Hook):
    """Tell the hooks of a checkpoint that was loaded before there was a Runner, as the Runner tells them."""

    priority = 'LOWEST'  # the others are set up

    def __init__(self, checkpoint: dict, source: str | Path):
        self.checkpoint, self.source = checkpoint, source

    def before_run(self, runner: Runner) -> None:
        runner.call_hook('after_load_checkpoint', checkpoint=self.__dict__.pop('checkpoint'))
        runner.logger.info(f'Load checkpoint from {self.source}')
