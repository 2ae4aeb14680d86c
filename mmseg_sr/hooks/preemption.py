"""PreemptionHook: a training that is asked to end saves first."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import torch
from mmengine.dist import all_reduce, barrier, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..checkpoints.saving import AtomicCheckpointHook

STATUS = 128 + signal.SIGTERM  # 143, as a shell says it of a command that SIGTERM ended


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Finish the iteration on SIGTERM, save it and leave with status 143: SystemExit.

    In a config: ``default_hooks = dict(preemption=dict(type='PreemptionHook'), ...)``, beside an
    AtomicCheckpointHook that counts iterations. Slurm sends SIGTERM before it takes a node away; ``--resume`` goes on.

    During an evaluation nothing waits for its end, and it is made anew when the run is resumed. Of several processes
    the first one saves then at once, and all leave together when the evaluation has ended, if they are let.

    Args:
        patience: Seconds after which another SIGTERM ends the process at once. One that comes earlier is the same
            request: a process group gets it from its sender, and each process again from torch.distributed.run.
    """

    priority = 'LOWEST'  # after the checkpoint that may be due anyway

    def __init__(self, patience: float = 5.0):
        self.patience = patience
        self._asked = False
        self._since = 0.0
        self._saver: AtomicCheckpointHook | None = None
        self._has_batch = False
        self._former: object = None

    def before_train(self, runner: Runner) -> None:
        savers = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook) and not hook.by_epoch]
        if not savers or threading.current_thread() is not threading.main_thread():
            runner.logger.warning(
                'PreemptionHook needs an AtomicCheckpointHook with by_epoch=False, and the main thread: '
                'SIGTERM ends this training without a checkpoint.'
            )
            return
        self._saver, self._has_batch = savers[0], False
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            loader = loop.dataloader
            loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)
        self._former = signal.signal(signal.SIGTERM, self._hear)
        self._mask(signal.SIG_BLOCK)  # Data workers are born with it. It comes through with the first batch.

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self._has_batch = True
        self._mask(signal.SIG_UNBLOCK)

    def before_val(self, runner: Runner) -> None:
        self._mask(signal.SIG_BLOCK)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self._mask(signal.SIG_UNBLOCK)

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        if self._all_know():
            self._leave(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        if self._asked and not is_distributed():
            self._leave(runner, runner.iter)
        elif self._asked and is_main_process():
            self._saver.save(runner, runner.iter)

    def after_val(self, runner: Runner) -> None:
        if self._all_know():
            self._leave(runner, runner.iter)
        if not self._has_batch:  # an evaluation that was due on resuming: the data workers are yet to be born
            self._mask(signal.SIG_BLOCK)

    def release_sigterm(self, runner: Runner | None = None) -> None:
        """Leave SIGTERM to whom it was left before."""
        self._mask(signal.SIG_UNBLOCK)
        if self._saver:
            signal.signal(signal.SIGTERM, self._former or signal.SIG_DFL)
            self._saver = None

    after_train = release_sigterm

    def _mask(self, how: int) -> None:
        if self._saver:
            signal.pthread_sigmask(how, {signal.SIGTERM})

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._asked and time.monotonic() - self._since >= self.patience:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        self._since = self._since if self._asked else time.monotonic()
        self._asked = True

    def _all_know(self) -> bool:
        """Whether any process has been asked: a signal reaches them at different moments."""
        if self._saver is None or not is_distributed():
            return self._asked
        asked = torch.tensor(int(self._asked))
        all_reduce(asked, 'max')
        return bool(asked)

    def _leave(self, runner: Runner, iteration: int) -> None:
        self._saver.save(runner, iteration)
        barrier()  # a launcher ends the others as soon as one has left
        runner.logger.info(f'SIGTERM: iteration {iteration} is saved, leaving with status {STATUS}.')
        runner.visualizer.close()
        self.release_sigterm()
        raise SystemExit(STATUS)


def _start_worker(init: Callable[[int], None] | None, worker: int) -> None:
    """Let a data worker end on its own process's SIGTERM only: Slurm and shells send one to every process there is."""
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # where it was born later than the first ones
        threading.Thread(target=_await_parent, args=(os.getppid(),), daemon=True).start()
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if init:
        init(worker)


def _await_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
