"""Experiments: train and test what is missing of arms x seeds x modes. One row each, as :mod:`.rows` says.

    exp = load('experiments/camvid_cpu.yaml')
    failures = run(exp, jobs=2)
    table = rows(exp)

Trainings and tests are the project's own tools, run as a user would. A kill at any point loses at most the command
in progress, and a training goes on from its last checkpoint.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..checkpoints.reading import read_checkpoint
from ..errors import UserError
from ..openmmlab import HOME
from .jobs import Chain, Failure, Job, run_chains
from .plan import Arm, Experiment, load
from .results import Cell, cells, is_made, make, read, read_json, training_dir
from .settings import differences, max_iterations, option_words, resolve

__all__ = ['Experiment', 'commands', 'load', 'rows', 'run']

TOOLS = HOME / 'tools'
TEST_WEIGHT = 0.1  # of a test, in trainings, for the time left


def rows(exp: Experiment) -> list[dict]:
    """The rows that there are; those made under other settings do not count."""
    return read(exp)[0]


def run(exp: Experiment, jobs: int = 1, tools: Path = TOOLS) -> list[Failure]:
    """Train and test what is missing.

    The checkpoint tested is the last one: the best one on the validation images would have been chosen by them.
    A test made under other settings is named and made again.

    Args:
        exp: What to run.
        jobs: Number of trainings, or of tests, at the same time.
        tools: Folder of train.py, test.py and the scripts beside them.

    Returns:
        What failed; the rest has been done.

    Raises:
        UserError: For a config that cannot be read, and a training made under other settings: it is not
            overwritten. Before anything is started.
    """
    work = _Work(exp, Path(tools))
    for path in read(exp)[1]:
        print(f'{path} was made under other settings and is made again', file=sys.stderr)
    chains = work.chains()
    if exp.launcher != 'none':
        for cell in cells(exp):
            if not is_made(cell) and cell.test.is_file():
                make(cell)
        left = [job.name for chain in chains for job in chain.jobs()]
        if left:
            raise UserError(f'launcher is {exp.launcher}: run what --print-commands prints; missing: {"; ".join(left)}')
    return run_chains(chains, jobs, _environment(Path(tools)))


def commands(exp: Experiment, tools: Path = TOOLS) -> list[str]:
    """The commands that :func:`run` would run, as lines of a shell script: each training, then its tests."""
    work = _Work(exp, Path(tools))
    script = ['#!/usr/bin/env bash', f'cd {shlex.quote(str(Path.cwd()))}']
    if exp.launcher == 'slurm':
        script.append(': "${PARTITION:?set it to the Slurm partition to use}"')
    for chain in work.chains():
        lines = [_line(job.command) for job in chain.jobs() if job.command]
        script += [' &&\n    '.join(lines)] if lines else []
    collect = ['python', str(work.tools / 'experiment.py'), 'run', str(exp.path), '--work-dir', str(exp.work_dir)]
    return [*script, f'{shlex.join(collect)}  # makes the rows']


def _line(command: Sequence[str]) -> str:
    words = ['python' if word == sys.executable else word for word in command]
    return ' '.join('"$PARTITION"' if word == '$PARTITION' else shlex.quote(word) for word in words)


def _environment(tools: Path) -> Mapping:
    """Let the tools find the package beside them, and this Python."""
    places = {'PYTHONPATH': str(tools.parent), 'PATH': str(Path(sys.executable).parent)}
    joined = {key: os.pathsep.join(filter(None, [place, os.environ.get(key)])) for key, place in places.items()}
    return {**os.environ, **joined}


class _Work:
    """The chains of an experiment: a training and its tests, seed by seed."""

    def __init__(self, exp: Experiment, tools: Path):
        self.exp = exp
        self.tools = tools.absolute()
        needed = ['train.py', 'test.py']
        if exp.launcher == 'slurm':
            needed = ['slurm_train.sh', 'slurm_test.sh']
        elif exp.processes > 1:
            needed = ['dist_train.sh', 'dist_test.sh']
        missing = [name for name in needed if not (self.tools / name).is_file()]
        if missing:
            raise UserError(f'there is no {" and ".join(missing)} in {self.tools}: experiments need a checkout')
        self.iterations = {arm.name: max_iterations(resolve(arm)) for arm in exp.arms.values()}

    def chains(self) -> list[Chain]:
        """One chain for each training.

        Raises:
            UserError: For a training that was made under other settings.
        """
        groups: dict[tuple[str, int], list[Cell]] = {}
        for cell in cells(self.exp):
            groups.setdefault((cell.arm.name, cell.seed), []).append(cell)
        for group in groups.values():
            if self._missing(group):
                _refuse_other_training(group[0].arm, group[0].seed, group[0].training)
        return [
            Chain(f'{arm} seed{seed}', group[0].training / '.lock', partial(self._missing, group))
            for (arm, seed), group in groups.items()
        ]

    def _missing(self, group: Sequence[Cell]) -> list[Job]:
        tests = [cell for cell in group if not is_made(cell)]
        if not tests:
            return []
        arm, seed, folder = group[0].arm, group[0].seed, group[0].training
        jobs = [self._test(cell) for cell in tests]
        # Where all tests have been made, by printed commands, their training may be gone.
        if any(job.command for job in jobs) and not is_trained(folder, self.iterations[arm.name]):
            jobs.insert(0, self._training(arm, seed))
        return jobs

    def _training(self, arm: Arm, seed: int) -> Job:
        folder = training_dir(self.exp, arm, seed)
        name = f'{arm.name} seed{seed} train'
        arguments = ['--work-dir', folder, '--seed', seed, '--resume']
        command = self._command('train', name, [arm.config], arguments, arm.options)

        def check() -> None:
            if not is_trained(folder, self.iterations[arm.name]):
                raise UserError(f'the training left no iter_{self.iterations[arm.name]}.pth in {folder}')

        return Job(name, command, self._log(name), start=partial(mend, folder), finish=check)

    def _test(self, cell: Cell) -> Job:
        made = read_json(cell.test) is not None and cell.confusion.is_file()
        checkpoint = cell.training / f'iter_{self.iterations[cell.arm.name]}.pth'
        arguments = ['--metrics', cell.test, '--confusion', cell.confusion, '--work-dir', cell.test.parent]
        options = {**cell.arm.options, **cell.mode.options}
        arguments += ['--tta'] * cell.mode.tta
        command = self._command('test', cell.name, [cell.arm.config, checkpoint], arguments, options)
        return Job(cell.name, [] if made else command, self._log(cell.name), TEST_WEIGHT, finish=partial(make, cell))

    def _command(self, tool: str, name: str, files: list, arguments: list, options: Mapping) -> list[str]:
        processes = self.exp.processes
        if self.exp.launcher == 'slurm':
            # As many processes a node as the script takes by itself, or fewer.
            words = ['env', f'GPUS={processes}', f'GPUS_PER_NODE={min(processes, 4)}']
            words += [self.tools / f'slurm_{tool}.sh', '$PARTITION', name.replace(' ', '-'), *files]
        elif processes > 1:
            words = [self.tools / f'dist_{tool}.sh', *files, processes]
        else:
            words = [sys.executable, self.tools / f'{tool}.py', *files]
        chosen = ['--cfg-options', *option_words(options)] if options else []
        return [str(word) for word in (*words, *arguments, *chosen)]

    def _log(self, name: str) -> Path:
        return self.exp.work_dir / 'logs' / f'{name.replace(" ", "-")}.log'


def is_trained(folder: Path, iterations: int) -> bool:
    """Whether a training has saved its last checkpoint: mmengine writes ``last_checkpoint`` when that is done."""
    last = _last_checkpoint(folder)
    return last == f'iter_{iterations}.pth' and (folder / last).is_file()


def _last_checkpoint(folder: Path) -> str | None:
    try:
        return Path((folder / 'last_checkpoint').read_text().strip()).name
    except OSError:
        return None


def mend(folder: Path) -> None:
    """Let ``last_checkpoint`` name a checkpoint that is there and whole, or be gone.

    A kill while mmengine saves can leave half a checkpoint after the one before it was deleted. Nothing could be
    resumed from there, so the training would fail each time.
    """
    last = _last_checkpoint(folder)
    if last and (folder / last).is_file():
        return
    found = [path for path in folder.glob('iter_*.pth') if path.stem.removeprefix('iter_').isdigit()]
    for path in sorted(found, key=lambda path: int(path.stem.removeprefix('iter_')), reverse=True):
        try:
            read_checkpoint(path)
        except UserError:
            continue
        (folder / 'last_checkpoint').write_text(str(path))
        return
    (folder / 'last_checkpoint').unlink(missing_ok=True)


def _refuse_other_training(arm: Arm, seed: int, folder: Path) -> None:
    # Of a start that failed before its first checkpoint nothing would be used.
    found = differences(resolve(arm, seed), folder) if any(folder.glob('iter_*.pth')) else []
    if found:
        raise UserError(
            f'{folder} was trained under other settings: {"; ".join(found[:5])}'
            f'{f" and {len(found) - 5} more" if len(found) > 5 else ""}. '
            'Move it away to train again, or choose another --work-dir'
        )
