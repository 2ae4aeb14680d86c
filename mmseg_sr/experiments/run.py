"""Run an experiment: train and test what is missing of arms x seeds x modes.

Trainings and tests are the project's own tools, run as a user would, each with a config of its own. A kill at any
point loses at most the command in progress, and a training goes on from its last checkpoint.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from mmengine.config import Config

from ..checkpoints.loaders import check_local_weights
from ..checkpoints.saving import BEST
from ..datasets.build import check_data
from ..errors import UserError
from ..kinds import is_kind
from ..openmmlab import HOME
from ..progress import Bar
from .jobs import Failure, Job, run_chains
from .plan import Experiment
from .results import Cell, cells, stale
from .settings import count_parameters, differences, max_iterations, resolve, write_config

TOOLS = HOME / 'tools'


def run(exp: Experiment, jobs: int = 1, tools: Path = TOOLS) -> list[Failure]:
    """Train and test what is missing, and return what failed.

    The checkpoint tested is the last one, where the experiment does not say otherwise: of networks that are tested on
    their validation images, the best one would have been chosen by them.
    A test made under other settings is named and made again. ``jobs`` is the number of trainings, or of tests, at the
    same time; ``tools`` the folder of train.py, test.py and the scripts beside them.

    Raises:
        UserError: Before anything is started, for what cannot be read or built, and for a training made under other
            settings, which is not overwritten.
    """
    chains = _chains(exp, Path(tools))
    for path in stale(exp):
        print(f'{path} was made under other settings and is made again', file=sys.stderr)
    left = [chain for chain in chains if chain.jobs()]
    if exp.launcher == 'none':
        _try(exp, left)
    elif left:
        names = '; '.join(job.name for chain in left for job in chain.jobs())
        raise UserError(f'launcher is {exp.launcher}: run what --print-commands prints; missing: {names}')
    return run_chains(chains, jobs, _environment(Path(tools)))


def commands(exp: Experiment, tools: Path = TOOLS) -> list[str]:
    """Write the configs of what :func:`run` would run, and return its commands as lines of a shell script.

    Each training stands before its tests, and last the report of it all.
    """
    script = ['#!/usr/bin/env bash', f'cd {shlex.quote(str(Path.cwd()))}']
    if exp.launcher == 'slurm':
        script.append(': "${PARTITION:?set it to the Slurm partition to use}"')
    for chain in _chains(exp, Path(tools)):
        jobs = chain.jobs()
        for job in jobs:
            job.start()
            script.append(_line(job.command) + ' && {' * job.needed)
        script += ['}'] * any(job.needed for job in jobs)
    last = ['python', str(Path(tools).absolute() / 'experiment.py'), 'report', str(exp.path)]
    return [*script, shlex.join([*last, '--work-dir', str(exp.work_dir)])]


def _try(exp: Experiment, chains: Sequence['_Training']) -> None:
    """Build the networks and data of these chains before anything is started; refuse all mistakes in one message.

    Training data, and weights to begin from, are asked for where a training is missing only.
    """
    found: dict[str, list[str]] = {}
    training = {chain.arm.name for chain in chains if chain.jobs()[0].needed}
    for arm in Bar({chain.arm.name: chain.arm for chain in chains}.values(), 'try', leave=False, unit='arm'):
        for mode in [None, *exp.modes] if arm.name in training else exp.modes:
            try:
                cfg = resolve(arm, mode=mode)
                count_parameters(cfg)
                _check_saved(exp, cfg)
                if mode:
                    check_data(cfg, 'test')
                else:
                    check_data(cfg, 'train', 'val')
                    check_local_weights(cfg)
            except UserError as error:
                found.setdefault(str(error), []).append(arm.name)
    if found:
        said = [f'{message} ({", ".join(dict.fromkeys(arms))})' for message, arms in found.items()]
        raise UserError(f'nothing was started: {"; ".join(said)}')


def _check_saved(exp: Experiment, cfg: Config) -> None:
    saver = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if exp.checkpoint == 'best' and not (is_kind(saver, 'HOOKS', 'AtomicCheckpointHook') and saver.get('save_best')):
        raise UserError(f'{cfg.filename}: checkpoint: best needs an AtomicCheckpointHook with save_best')


def _line(command: Sequence[str]) -> str:
    words = ['python' if word == sys.executable else word for word in command]
    return ' '.join('"$PARTITION"' if word == '$PARTITION' else shlex.quote(word) for word in words)


def _environment(tools: Path) -> Mapping:
    """Let the tools find the package beside them, and this Python."""
    places = {'PYTHONPATH': str(tools.absolute().parent), 'PATH': str(Path(sys.executable).parent)}
    joined = {key: os.pathsep.join(filter(None, [place, os.environ.get(key)])) for key, place in places.items()}
    return {**os.environ, **joined}


def _chains(exp: Experiment, tools: Path) -> list['_Training']:
    kind, end = ('slurm_', 'sh') if exp.launcher == 'slurm' else ('dist_', 'sh') if exp.processes > 1 else ('', 'py')
    programs = {name: tools.absolute() / f'{kind}{name}.{end}' for name in ('train', 'test')}
    if missing := [path.name for path in programs.values() if not path.is_file()]:
        raise UserError(f'there is no {" and ".join(missing)} in {tools}: experiments need a checkout')
    last = {arm.name: f'iter_{max_iterations(resolve(arm))}.pth' for arm in exp.arms.values()}
    groups: dict[Path, list[Cell]] = {}
    for cell in cells(exp):
        groups.setdefault(cell.training, []).append(cell)
    chains = [_Training(tests, programs, folder / last[tests[0].arm.name]) for folder, tests in groups.items()]
    for chain in chains:
        chain.refuse_other_settings()
    return chains


class _Training:
    """A training and the tests of its last checkpoint: a :class:`.jobs.Chain`."""

    def __init__(self, tests: Sequence[Cell], programs: Mapping[str, Path], checkpoint: Path):
        self.tests, self.programs, self.checkpoint, self.folder = tests, programs, checkpoint, checkpoint.parent
        self.exp, self.arm, self.seed = tests[0].exp, tests[0].arm, tests[0].seed
        self.tested = self.folder / BEST if self.exp.checkpoint == 'best' else checkpoint
        self.name, self.lock = f'{self.arm.name} seed{self.seed}', self.folder / '.lock'

    def refuse_other_settings(self) -> None:
        # Of a start that failed before its first checkpoint nothing would be used.
        found = differences(resolve(self.arm, self.seed), self.folder) if any(self.folder.glob('iter_*.pth')) else []
        if found:
            raise UserError(
                f'{self.folder} was trained under other settings: {"; ".join(found[:5])}'
                f'{f" and {len(found) - 5} more" if len(found) > 5 else ""}. '
                'Move it away to train again, or choose another --work-dir'
            )

    def jobs(self) -> list[Job]:
        tests = [self._test(cell) for cell in self.tests if not cell.is_made()]
        return [self._train(), *tests] if tests and not is_trained(self.checkpoint) else tests

    def _train(self) -> Job:
        config = self.folder / 'configs' / f'{self.arm.config.stem}.py'
        return Job(
            name := f'{self.name} train',
            self._command('train', name, [config], '--resume'),
            self._log(name),
            self.checkpoint,
            start=partial(write_config, config, self.folder, self.arm, self.seed),
            is_done=partial(is_trained, self.checkpoint),
            needed=True,
        )

    def _test(self, cell: Cell) -> Job:
        config = self.folder / 'configs' / f'{cell.test.stem}.py'
        options = ['--metrics', cell.test, '--confusion', cell.confusion, *['--tta'] * cell.mode.tta]
        options += ['--without-sr'] * cell.without_sr
        return Job(
            cell.name,
            self._command('test', cell.name, [config, self.tested], *options),
            self._log(cell.name),
            cell.test,
            start=partial(write_config, config, cell.test.parent, self.arm, mode=cell.mode),
            is_done=cell.is_made,
            weight=0.1,
        )

    def _command(self, tool: str, name: str, files: list[Path], *options: object) -> list[str]:
        program, processes = self.programs[tool], self.exp.processes
        if self.exp.launcher == 'slurm':
            # As many processes a node as the script takes by itself, or fewer.
            words = ['env', f'GPUS={processes}', f'GPUS_PER_NODE={min(processes, 4)}', program]
            words += ['$PARTITION', name.replace(' ', '-'), *files]
        else:
            words = [program, *files, processes] if processes > 1 else [sys.executable, program, *files]
        return [str(word) for word in (*words, *options)]

    def _log(self, name: str) -> Path:
        return self.exp.work_dir / 'logs' / f'{name.replace(" ", "-")}.log'


def is_trained(checkpoint: Path) -> bool:
    """Whether a training has saved its last checkpoint: mmengine writes ``last_checkpoint`` when that is done."""
    note = checkpoint.with_name('last_checkpoint')
    if not (checkpoint.is_file() and note.is_file()):
        return False
    return Path(note.read_text(encoding='utf-8').strip()).name == checkpoint.name
