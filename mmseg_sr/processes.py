"""Run in several processes: who speaks, how they join, and what mmengine keeps for all of one."""

import contextlib
import functools
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist
from mmengine.logging import MessageHub, MMLogger, print_log
from mmengine.registry import DefaultScope
from mmengine.utils.dl_utils import set_multi_processing
from mmengine.visualization import Visualizer

from .errors import UserError


class ProcessLost(UserError):
    """Another process of this run is gone, or does not answer."""


def is_first_process(cfg: Config) -> bool:
    """Tell whether this process speaks for all, by the environment: before there is a process group, and after."""
    return cfg.get('launcher', 'none') == 'none' or _rank() == 0


def _rank() -> int:
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return int(next((os.environ[name] for name in names if name in os.environ), 0))


def first_process_speaks(main: Callable[[], None], patience: float = 10.0) -> Callable[[], None]:
    """Make the other processes wait with a :class:`UserError`, which all of them meet, for the first one's message.

    The launcher ends them as soon as the first process has spoken. After ``patience`` seconds they speak up: the
    mistake is their own then, a file that only their machine lacks, say. Where another process is gone all wait, so
    that the launcher names that one; it cannot where it runs on another machine.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except UserError as error:
            if _rank() == 0 and not isinstance(error, ProcessLost):
                raise
            time.sleep(patience)
            raise UserError(f'process {_rank()}: {error}') from error

    return run


@contextlib.contextmanager
def quiet(level: str) -> Iterator[None]:
    """Keep mmengine's log from saying what is below ``level``, 'ERROR' say, inside a ``with`` block."""
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def process_group(cfg: Config) -> Iterator[None]:
    """Join the processes of ``cfg.launcher`` for a ``with`` block: by gloo without a GPU, else as mmengine's Runner.

    Raises:
        UserError: For a launcher that cannot work here.
        ProcessLost: Where another process died in the block, or did not answer within the ``timeout``, in seconds, of
            ``env_cfg.dist_cfg``, 1800 by default.
    """
    launcher, env = cfg.get('launcher', 'none'), cfg.get('env_cfg') or {}
    joined = dist.is_initialized()
    if launcher != 'none' and not joined:
        _check_launcher(launcher)
        if get_device() == 'cpu':
            _join((env.get('dist_cfg') or {}).get('timeout', 1800))
        else:
            set_multi_processing(**(env.get('mp_cfg') or {}), distributed=True)
            init_dist(launcher, **(env.get('dist_cfg') or {}))
    try:
        yield
    except RuntimeError as error:
        if launcher == 'none' or not (isinstance(error, dist.DistError) or 'gloo/transport' in str(error)):
            raise
        message = (
            f'another process is gone, or does not answer ({_reason(error)}): its launcher says which and why. '
            'The same command with --resume goes on from the last checkpoint'
        )
        if is_first_process(cfg):
            print_log(message, logger='current', level=logging.ERROR)
        raise ProcessLost(message) from error
    finally:
        if dist.is_initialized() and not joined:
            dist.destroy_process_group()


def _check_launcher(launcher: str) -> None:
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError('--launcher pytorch is for tools/dist_train.sh and tools/dist_test.sh; leave it out here')
    if get_device() == 'cpu' and launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs; on CPUs use tools/dist_train.sh or dist_test.sh')
    if get_device() == 'cuda' and int(os.environ.get('LOCAL_RANK', 0)) >= torch.cuda.device_count():
        raise UserError(f'more processes on this machine than its {torch.cuda.device_count()} GPUs')


def _join(timeout: float) -> None:
    """Meet the other processes, over gloo; ``timeout`` in seconds, for this and all that they do together then."""
    try:
        dist.init_process_group('gloo', timeout=timedelta(seconds=timeout))
    except RuntimeError as error:
        raise UserError(
            f'cannot join the other processes ({_reason(error)}). MASTER_ADDR and PORT must be those of the first '
            'machine, which all can reach; GLOO_SOCKET_IFNAME can name the network interface'
        ) from error


def _reason(error: Exception) -> str:
    """What gloo says, without its source file and its advice."""
    return re.sub(r'\[[^\[\]]*gloo/[^\]]*\] *', '', str(error)).split('. ')[0]


@contextlib.contextmanager
def forgotten() -> Iterator[None]:
    """Let mmengine forget what is made inside the ``with`` block under a name for all to find."""
    before = {kind: dict(kind._instance_dict) for kind in _managed()}
    try:
        yield
    finally:
        for kind in _managed():  # with those that were imported meanwhile
            kind._instance_dict.clear()
            kind._instance_dict.update(before.get(kind, {}))


def _managed() -> list[type]:
    kinds = [Visualizer]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return [MMLogger, MessageHub, DefaultScope, *kinds]
