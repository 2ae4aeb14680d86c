"""Run chains of commands, one or several at a time, each command with its log, with progress and time left.

Where a command fails that the rest of its chain needs, that rest is left out; all else goes on. A chain is worked on
under a lock that its commands hold too, so that two callers, or what a killed one left running, never work on the same
chain: the second one waits, and then does what is still missing.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from ..errors import UserError
from ..progress import Bar
from .logs import last_words, progress

GRACE = 40  # seconds from SIGTERM to SIGKILL; torch.distributed.run gives its processes 30
PAUSE = 0.1  # seconds between two looks at the running commands
BAR = '{percentage:3.0f}% |{bar:20}| {elapsed} < {remaining} {postfix}'
DONE = object()


@dataclass(frozen=True)
class Job:
    """A command, and what it makes."""

    name: str
    command: Sequence[str]
    log: Path
    makes: Path
    start: Callable[[], object]  # called before the command
    is_done: Callable[[], bool]  # asked after it
    weight: float = 1.0  # how long it takes, compared with other jobs
    needed: bool = False  # by all that follows it in its chain


@dataclass(frozen=True)
class Failure:
    """A job that failed, why, and where to read on; ``left_out`` counts the jobs that needed it."""

    name: str
    message: str
    log: Path
    left_out: int

    def __str__(self) -> str:
        more = f', and {self.left_out} more that need it' if self.left_out else ''
        return f'{self.name}{more}: {self.message} (see {self.log})'


class Chain(Protocol):
    """Jobs that follow each other. ``jobs`` gives what is missing: it is called at the start, and under the lock."""

    name: str
    lock: Path
    jobs: Callable[[], list[Job]]


def run_chains(chains: Sequence[Chain], workers: int = 1, environment: Mapping | None = None) -> list[Failure]:
    """Run what is missing of some chains, ``workers`` chains at a time, and return what failed.

    When this call ends early, by Ctrl-C, SIGTERM or an exception, the running commands are ended first.
    ``environment`` is that of the commands; the default is this process's.
    """
    crew = _Crew(chains, environment)
    waiting, active = list(chains), []
    try:
        with crew.bar, _noting_signals() as noted:
            while waiting or active:
                while waiting and len(active) < workers:
                    active.append(crew.work(waiting.pop(0)))
                active = [work for work in active if next(work, DONE) is not DONE]
                crew.show()
                if noted:
                    raise noted[0]
                if active:
                    time.sleep(PAUSE)
    except BaseException:
        crew.stop()
        raise
    return crew.failures


class _Crew:
    """What the chains share: which commands run, what is done, what failed."""

    def __init__(self, chains: Sequence[Chain], environment: Mapping | None):
        self.environment = environment
        self.running: dict[str, tuple[Job, subprocess.Popen]] = {}
        self.failures: list[Failure] = []
        self.left = {chain.name: sum(job.weight for job in chain.jobs()) for chain in chains}
        self.total = sum(self.left.values())
        self.bar = Bar(total=self.total, bar_format=BAR, disable=not self.total)

    def work(self, chain: Chain) -> Iterator[None]:
        """Do what is missing of a chain; yield while there is nothing to do but wait."""
        chain.lock.parent.mkdir(parents=True, exist_ok=True)
        with chain.lock.open('wb') as lock:
            yield from _locked(lock)
            jobs = chain.jobs()
            for index, job in enumerate(jobs, start=1):
                try:
                    yield from self._run(chain, job, lock)
                except UserError as error:
                    self.failures.append(Failure(job.name, str(error), job.log, (len(jobs) - index) * job.needed))
                    self.bar.write(f'failed: {self.failures[-1]}', file=sys.stderr)
                    if job.needed:
                        break
                self.left[chain.name] -= job.weight
        self.left[chain.name] = 0

    def _run(self, chain: Chain, job: Job, lock: IO) -> Iterator[None]:
        job.start()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open('wb') as log:
            try:
                process = subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    start_new_session=True,  # a group of its own, to end with all its processes
                    pass_fds=(lock.fileno(),),
                )
            except OSError as error:
                raise UserError(f'cannot start {job.command[0]}: {error}') from error
        self.running[chain.name] = job, process
        while process.poll() is None:
            yield
        del self.running[chain.name]
        if status := process.returncode:
            ending = f'killed by {signal.Signals(-status).name}' if status < 0 else f'exit status {status}'
            raise UserError(f'{ending}: {last_words(job.log)}')
        if not job.is_done():
            raise UserError(f'it ended well and left no {job.makes}')

    def stop(self) -> None:
        """End the running commands and all that they started: ask, then force."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _, process in self.running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            for _, process in self.running.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)

    def show(self) -> None:
        """Bring the progress bar up to date."""
        amount, texts = self.total - sum(self.left.values()), []
        for job, _ in self.running.values():
            step, steps = progress(job.log)
            amount += job.weight * step / steps
            texts.append(f'{job.name} {step}/{steps}' if steps > 1 else job.name)
        self.bar.set_postfix_str('; '.join(texts), refresh=False)
        self.bar.update(min(amount, self.total) - self.bar.n)


def _locked(lock: IO) -> Iterator[None]:
    """Wait, by yielding, until the file is locked."""
    said = False
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                Bar.write(f'{Path(lock.name).parent}: another process works on it, waiting', file=sys.stderr)
            said = True
            yield


@contextlib.contextmanager
def _noting_signals() -> Iterator[list[BaseException]]:
    """Note SIGINT and SIGTERM inside a ``with`` block: exceptions to raise while no command is being started."""
    noted: list[BaseException] = []
    kinds = {signal.SIGINT: KeyboardInterrupt(), signal.SIGTERM: SystemExit(128 + signal.SIGTERM)}
    main = threading.current_thread() is threading.main_thread()  # only that one may set handlers
    heeded = [number for number in kinds if main and signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: noted.append(kinds[number])) for number in heeded}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
