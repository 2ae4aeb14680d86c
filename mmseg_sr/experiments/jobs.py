"""Commands one after another or several at a time, each with its log, with progress and time left.

A chain is a list of commands of which each needs what the one before it made. Chains are independent: where a
command fails the rest of its chain is left out and the other chains go on. A chain is worked on under a lock that its
commands hold too, so that two callers, or what a killed one left running, never work on the same chain: the second
one waits, and then does what is still missing. The callables of chains and jobs are called one at a time.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from .logs import last_words, progress

GRACE = 40  # seconds from SIGTERM to SIGKILL; torch.distributed.run gives its processes 30


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: For the user.
        command: Words; none where only ``finish`` is to do.
        log: File for its output.
        weight: How long it takes, compared with other jobs.
        start: Called before the command.
        finish: Called after it; raises a UserError where the command did not leave what it should.
    """

    name: str
    command: Sequence[str]
    log: Path
    weight: float = 1.0
    start: Callable[[], object] = lambda: None
    finish: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Chain:
    """Jobs that follow each other. ``jobs`` is called for what is missing: at the start, and again under the lock."""

    name: str
    lock: Path
    jobs: Callable[[], list[Job]]


@dataclass(frozen=True)
class Failure:
    """A job that failed, why, and where to read on; ``left_out`` counts the jobs that needed it."""

    name: str
    message: str
    log: Path | None = None
    left_out: int = 0

    def __str__(self) -> str:
        more = f', and {self.left_out} more that need it' if self.left_out else ''
        return f'{self.name}{more}: {self.message}' + (f' (see {self.log})' if self.log else '')


class _Interrupted(Exception):
    """The caller is ending."""


def run_chains(chains: Sequence[Chain], workers: int = 1, environment: Mapping | None = None) -> list[Failure]:
    """Run what is missing of some chains, ``workers`` chains at a time.

    When this call ends early, by Ctrl-C, SIGTERM or an exception, the running commands are ended first.

    Args:
        chains: In the order in which to begin.
        workers: Number of chains worked on at the same time.
        environment: Of the commands; the default is this process's.

    Returns:
        What failed.
    """
    crew = _Crew(chains, environment)
    silent = not sys.stderr.isatty()
    form = '{percentage:3.0f}% |{bar:20}| {elapsed} < {remaining} {postfix}'
    bar = tqdm(total=crew.total, bar_format=form, mininterval=30 if silent else 0.5, disable=not crew.total)
    with _sigterm_raises(), bar, ThreadPoolExecutor(workers) as pool:
        try:
            futures = [pool.submit(crew.work, chain) for chain in chains]
            while wait(futures, timeout=0.5).not_done:
                crew.show(bar)
            crew.show(bar)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            crew.stop()
            raise
    return [failure for future in futures for failure in future.result()]


class _Crew:
    """What the threads share: which commands run, what is done, whether to stop."""

    def __init__(self, chains: Sequence[Chain], environment: Mapping | None):
        self.environment = environment
        planned = {chain.name: chain.jobs() for chain in chains}
        self.weights = {name: sum(job.weight for job in jobs) for name, jobs in planned.items()}
        self.total = sum(self.weights.values())
        self.done = dict.fromkeys(self.weights, 0.0)
        self.running: dict[str, tuple[Job, subprocess.Popen]] = {}
        self.stopping = threading.Event()
        self.guard = threading.Lock()  # no command starts once stop() has looked for those that run
        self.turn = threading.Lock()  # mmengine, which reads configs for the callables, has global state

    def work(self, chain: Chain) -> list[Failure]:
        """Do what is missing of a chain; the thread's main function."""
        job, jobs = None, []
        try:
            with self._locked(chain.lock) as lock:
                with self.turn:
                    jobs = chain.jobs()
                for job in jobs:
                    self._run(chain, job, lock)
                    self.done[chain.name] += job.weight
        except _Interrupted:
            pass
        except UserError as error:
            left_out = len(jobs) - jobs.index(job) - 1 if job else 0
            log = job.log if job and job.command else None
            return [Failure(job.name if job else chain.name, str(error), log, left_out)]
        finally:
            self.done[chain.name] = self.weights[chain.name]
        return []

    def _run(self, chain: Chain, job: Job, lock: int) -> None:
        with self.turn:
            job.start()
        if job.command:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            with job.log.open('wb') as log:
                status = self._wait(chain, job, log, lock)
            if self.stopping.is_set():
                raise _Interrupted
            if status:
                raise UserError(f'{_ending(status)}: {last_words(job.log)}')
        with self.turn:
            job.finish()

    def _wait(self, chain: Chain, job: Job, log, lock: int) -> int:
        with self.guard:
            if self.stopping.is_set():
                raise _Interrupted
            try:
                process = subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    start_new_session=True,  # a group of its own, to end with all its processes
                    pass_fds=(lock,),
                )
            except OSError as error:
                raise UserError(f'cannot start {job.command[0]}: {error}') from error
            self.running[chain.name] = job, process
        try:
            return process.wait()
        finally:
            del self.running[chain.name]

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[int]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('w') as file:
            said = False
            while not self.stopping.is_set():
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not said:
                        tqdm.write(f'{path.parent}: another process works on it, waiting', file=sys.stderr)
                    said = True
                    self.stopping.wait(0.5)
            else:
                raise _Interrupted
            yield file.fileno()

    def stop(self) -> None:
        """End the running commands: ask, then force."""
        with self.guard:
            self.stopping.set()
            processes = [process for _, process in self.running.values()]
        for process in processes:
            _signal_group(process, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)

    def show(self, bar: tqdm) -> None:
        """Bring the progress bar up to date."""
        amount, texts = sum(self.done.values()), []
        for job, _ in list(self.running.values()):
            step, steps = progress(job.log)
            amount += job.weight * step / steps
            texts.append(f'{job.name} {step}/{steps}' if steps > 1 else job.name)
        bar.set_postfix_str('; '.join(texts), refresh=False)
        bar.update(min(amount, self.total) - bar.n)


def _signal_group(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _ending(status: int) -> str:
    return f'killed by {signal.Signals(-status).name}' if status < 0 else f'exit status {status}'


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end a ``with`` block as an exception: SystemExit with the shell's 143."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
