"""A tiny training that is killed anywhere, again and again, and what it must be equal to in the end."""

import contextlib
import gc
import json
import multiprocessing
import os
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot  # noqa: F401  (a training imports it late: here it comes with the fork)
import mmseg.engine  # noqa: F401
import numpy as np
import setuptools  # noqa: F401
import torch
import torch._dynamo
from in_process import forget_runs
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from yapf.yapflib import yapf_api

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / 'tools/train.py'
ITERATIONS = 12

CHANGES = f"""
custom_imports = dict(imports=['mmseg_sr', 'killing'])
model['backbone'].update(base_channels=32, num_stages=2, out_indices=(0, 1), strides=(1, 2), dilations=(1, 1))
model['decode_head'].update(in_index=1, dropout_ratio=0.5)
model['auxiliary_head'][0].update(in_index=0, dropout_ratio=0.5)
train_dataloader['dataset'] = dict(dataset, pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75), dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs'),
])
train_cfg.update(max_iters={ITERATIONS}, val_interval=6)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end={ITERATIONS}, by_epoch=False)]
default_hooks.update(
    checkpoint=dict(
        type='AtomicCheckpointHook', by_epoch=False, interval=3, max_keep_ckpts=1, save_best='mIoU', rule='less'
    ),
    exact_resume=dict(type='ExactResumeHook'),
    preemption=dict(type='PreemptionHook'),
)
custom_hooks = [dict(type='KillHook')]
randomness.update(deterministic=True)
"""


# ----------------------------------------------------------------------------------------------- the process that dies


@dataclass(frozen=True)
class Kill:
    """How and when a process dies.

    Attributes:
        kind: 'time': ``number`` comes ``at`` seconds after the start of the training, for the data workers too.
            'birth': for them too, when there are so many of them. 'evaluation': after so many images; 'twice': two of
            them. 'file': before so many openings, renamings and removals of checkpoints and of what names the last.
            'write': when a file grows beyond so many bytes; 'full': it cannot, as on a full disk.
        number: The signal.
        at: When.
    """

    kind: str
    number: int
    at: float

    def __str__(self) -> str:
        return f'{signal.Signals(self.number).name}, {self.kind}'


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """Do what a Kill in the environment says."""

    def before_train(self, runner) -> None:
        text = os.environ.get('KILL')
        self.kill = Kill(**json.loads(text)) if text else Kill('none', 0, 0)
        self.left = self.kill.at
        if self.kill.kind == 'file':
            self.folder = os.path.abspath(runner.work_dir)
            sys.addaudithook(self._see)
        elif self.kill.kind in ('write', 'full'):
            if self.kill.kind == 'write':  # else it is ignored, and writing fails
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(self.kill.at), resource.RLIM_INFINITY))

    def before_train_epoch(self, runner) -> None:
        if self.kill.kind in ('time', 'birth'):
            os.setpgrp()
            threading.Thread(target=self._wait, daemon=True).start()

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.kill.kind in ('evaluation', 'twice'):
            self._count()

    def _wait(self) -> None:
        if self.kill.kind == 'time':
            time.sleep(self.kill.at)
        while self.kill.kind == 'birth' and len(multiprocessing.active_children()) < self.kill.at:
            time.sleep(0.001)
        os.system(f'kill -{self.kill.number} -{os.getpid()}')  # sent by another process: a worker obeys this one

    def _see(self, event: str, args: tuple) -> None:
        if event in ('open', 'os.rename', 'os.remove') and isinstance(args[0], (str, os.PathLike)):
            path = os.path.abspath(args[0])
            if path.startswith(self.folder) and re.search(r'(\.pth|last_checkpoint[^/]*)$', path):
                self._count()

    def _count(self) -> None:
        self.left -= 1
        if -1 <= self.left < 0:
            for _ in range(2 if self.kill.kind == 'twice' else 1):
                os.kill(os.getpid(), self.kill.number)


def by_fork(arguments: Sequence[object], kill: Kill | None, log: Path, **environment: str) -> int:
    """Run tools/train.py in a fork of this process, which has imported everything; its status, a signal's negative."""
    return await_fork(start_fork(arguments, kill, log, **environment))


def start_fork(
    arguments: Sequence[object], kill: Kill | None, log: Path, **environment: str
) -> multiprocessing.process.BaseProcess:
    environment = {**environment, 'KILL': json.dumps(vars(kill)) if kill else ''}
    process = multiprocessing.get_context('fork').Process(target=_train, args=(arguments, environment, log))
    process.start()
    return process


def await_fork(process: multiprocessing.process.BaseProcess) -> int:
    """Wait for its end; ``join`` would wait for that of its data workers, if it was killed."""
    deadline = time.monotonic() + 300
    while process.exitcode is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process.exitcode


def _train(arguments: Sequence[object], environment: dict[str, str], log: Path) -> None:
    gc.freeze()  # what came with the fork is not this run's
    os.environ.update(environment)
    np.random.seed()  # as a new process has it
    begin()
    sys.argv = [str(TRAIN), *map(str, arguments)]
    sys.path.insert(0, str(TRAIN.parent))  # as for a program that is started
    with log.open('a', buffering=1) as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        runpy.run_path(str(TRAIN), run_name='__main__')


def begin() -> None:
    """Let a run in this process find mmengine as new, and not format its config at every checkpoint.

    That is three quarters of the time of such a small run.
    """
    forget_runs()
    yapf_api.FormatCode = lambda text, **style: (text, False)


# ------------------------------------------------------------------------------------------------- what is left of it


@dataclass
class Story:
    """A training that was killed and resumed until its end: how it died each time, and what had been lost then."""

    kills: list[tuple[Kill, int]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def live(run: Callable[[Path, Kill | None, Path], int], work: Path, kills: Iterator[Kill], most: int) -> Story:
    """Train to the end through at most so many kills, looking at what each one left."""
    story, newest = Story(), 0
    for number in range(most + 1):
        log = work.with_suffix(f'.{number}.log')
        kill = next(kills) if number < most else None
        status = run(work, kill, log)
        found, faults = look(work, status)
        story.lost += [f'after {kill} at {kill and kill.at} ({status}): {fault}' for fault in faults]
        if found < newest:
            story.lost.append(f'after {kill}: iteration {found} only, where {newest} had been saved')
        newest = max(newest, found)
        if status == 0:
            return story
        assert kill is not None and status in (-kill.number, 128 + kill.number), f'{kill} {status}\n{log.read_text()}'
        story.kills.append((kill, status))
    raise AssertionError('the last run was not killed')


def look(work: Path, status: int) -> tuple[int, list[str]]:
    """The newest iteration that a work directory has a whole checkpoint of, and what should not be."""
    files = sorted(work.glob('[!.]*.pth'))  # not what is hidden
    faults = [f'{path.name} is not whole' for path in files if not is_whole(path)]
    newest = max([int(path.stem[5:]) for path in files if path.stem.startswith('iter_') and is_whole(path)], default=0)
    named = work / 'last_checkpoint'
    if named.exists() and not is_whole(Path(named.read_text())):
        faults.append(f'last_checkpoint names {named.read_text()!r}')
    if status == 128 + signal.SIGTERM and last_trained(work) not in (newest, None):
        faults.append(f'SIGTERM: iteration {newest} is saved, {last_trained(work)} was the last one trained')
    return newest, faults


def last_trained(work: Path) -> int | None:
    """The iteration that the last start of a run logged last, None if it made an evaluation only.

    An earlier start, killed, may have come further.
    """
    newest = max(work.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime_ns)
    rows = [json.loads(text) for text in re.findall(r'\{[^{}]*\}', newest.read_text())]
    return next((row['step'] for row in reversed(rows) if 'loss' in row), None)


def is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None and 'state_dict' in torch.load(path, weights_only=False)
    except (OSError, zipfile.BadZipFile, RuntimeError):
        return False


def losses(work: Path) -> dict[int, dict[str, float]]:
    """What was logged of each iteration, without times, over all starts of a run; they must agree."""
    rows: dict[int, dict[str, float]] = {}
    for path in sorted(work.glob('*/vis_data/scalars.json')):
        for text in re.findall(r'\{[^{}]*\}', path.read_text()):  # of a line that a kill cut off there is no end
            row = json.loads(text)
            if 'loss' in row:
                row = {key: value for key, value in row.items() if 'time' not in key and key != 'memory'}
                assert rows.setdefault(row['step'], row) == row
    return rows


def outcome(work: Path) -> dict:
    """Everything that a training leaves and that a stop must not change."""
    checkpoint = torch.load(work / f'iter_{ITERATIONS}.pth', weights_only=False)
    (best,) = work.glob('best_mIoU_*.pth')
    return {
        'files': sorted(path.name for path in work.iterdir() if path.is_file()),
        'named': Path((work / 'last_checkpoint').read_text()).name,
        'losses': losses(work),
        'best score': float(checkpoint['message_hub']['runtime_info']['best_score']),
        'best': torch.load(best, weights_only=False)['state_dict'],
        **{key: checkpoint[key] for key in ('state_dict', 'optimizer', 'param_schedulers')},
    }


def seconds(work: Path) -> float:
    """From the beginning of a training that nothing disturbed, by its config, to its end, by its last checkpoint."""
    begun, ended = (path.stat().st_mtime for path in (work / 'tiny.py', work / 'last_checkpoint'))
    return ended - begun


def differences(ours: object, theirs: object, place: str = '') -> list[str]:
    """Where two outcomes are not the same, to the bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [each for key in ours for each in differences(ours[key], theirs[key], f'{place}/{key}')]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [each for index, pair in pairs for each in differences(*pair, f'{place}/{index}')]
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [place]
    return [] if type(ours) is type(theirs) and ours == theirs else [f'{place}: {ours!r} {theirs!r}']


def fill_disk(run: Callable[[Path, Kill | None, Path], int], folder: Path, size: int) -> tuple[str, list[str]]:
    """Let a disk be full in the middle of a training, and then not.

    The disk is a tmpfs; who may not mount one gets a limit on the size of files, where writing fails alike.

    Args:
        run: Runs the training in a work directory, with a log: its status.
        folder: The work directory will be ``disk/work`` in it.
        size: Bytes of a checkpoint.

    Returns:
        How the disk was made small, and what was lost or wrong.
    """
    work, log, faults = folder / 'disk/work', folder / 'disk.log', []
    work.parent.mkdir(parents=True)
    # Room for the checkpoint that is kept, the next one and the best one; then somebody else takes room.
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={4 * size}', 'tmpfs', str(work.parent)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        statuses = [run(work, Kill('evaluation', signal.SIGTERM, 3), log)]
        before, _ = look(work, 143)
        if mounted:
            (work.parent / 'other').write_bytes(bytes(shutil.disk_usage(work).free - size // 2))
        statuses.append(run(work, None if mounted else Kill('full', signal.SIGXFSZ, size / 2), log))
        if look(work, 2) != (before, []) or list(work.glob('.*.partial*')):
            faults.append(f'iteration {before} was saved, and then there was {sorted(work.iterdir())}')
        messages = [line for line in log.read_text().splitlines() if line.startswith('error: ')]
        if len(messages) != 1 or f'cannot write {work}/' not in messages[0] or '--resume' not in messages[0]:
            faults.append(f'messages: {messages}')
        (work.parent / 'other').unlink(missing_ok=True)
        statuses.append(run(work, None, log))
        if statuses != [143, 2, 0]:
            faults.append(f'exit statuses {statuses}')
        if mounted:
            shutil.copytree(work.parent, folder / 'kept')
    finally:
        if mounted:
            subprocess.run(['umount', str(work.parent)], check=True)
            work.parent.rmdir()
            (folder / 'kept').rename(work.parent)
    return 'tmpfs' if mounted else 'limit on the size of files', faults


def random_kills(generator: random.Random, seconds: float, size: int) -> Iterator[Kill]:
    """All kinds in turn, each at random; ``seconds`` a whole training takes, ``size`` bytes has a checkpoint."""
    while True:
        for number in (signal.SIGKILL, signal.SIGTERM):
            yield Kill('time', number, generator.uniform(0, seconds))
        yield Kill('file', signal.SIGKILL, generator.randrange(25))
        yield Kill('write', signal.SIGXFSZ, generator.uniform(0.1, 0.98) * size)
        for number in (signal.SIGKILL, signal.SIGTERM):
            yield Kill('evaluation', number, generator.randrange(10))
