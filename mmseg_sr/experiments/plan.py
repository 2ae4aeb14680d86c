"""What to run: an experiment as a YAML file says it, checked as it is read.

name: table4                       # letters, digits and . + - _
work_dir: work_dirs/table4         # the default is work_dirs/ and the name; below the working directory
baseline: FCN                      # the arm that the others are compared with
seeds: [0, 1, 2, 3, 4]
options: {train_dataloader.num_workers: 1}     # --cfg-options of all arms
arms:
  FCN:
    config: configs/fcn/....py     # beside the YAML file, or in the checkout
    paper: {mIoU: [77.33, 0.16]}   # published mean and standard deviation, to stand beside ours
  FCN+SR:
    config: configs/fcn/...-sr.py
    options: {optim_wrapper.optimizer.lr: 0.02}
    baseline: FCN                  # where it is not the experiment's
modes:                             # how each network is tested; single-scale is the default
  single-scale: {}
  multi-scale + flip: {tta: true}
  slide: {options: {model.test_cfg.mode: slide}}
processes: 4                       # of each run, by tools/dist_train.sh; the default is 1
launcher: slurm                    # the default is none
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..errors import UserError
from ..openmmlab import HOME

NAME = re.compile(r'[A-Za-z0-9][\w.+-]*')
OWN_FOLDERS = ('rows', 'logs', 'report')


@dataclass(frozen=True)
class Mode:
    """A way to test a network: with test-time augmentation or without, and options of the config."""

    name: str
    tta: bool = False
    options: Mapping = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as a file's.

        Example:
            >>> Mode('multi-scale + flip').slug
            'multi-scale-flip'
        """
        return re.sub(r'[^a-z0-9.]+', '-', self.name.lower()).strip('-.')


@dataclass(frozen=True)
class Arm:
    """One of the networks compared: a config, options, the arm it is compared with, the paper's numbers."""

    name: str
    config: Path
    written: str  # the config as the YAML file names it
    options: Mapping
    baseline: str
    paper: Mapping


@dataclass(frozen=True)
class Experiment:
    """Arms times seeds times modes. ``baseline`` is that of the arms which name none."""

    name: str
    path: Path
    work_dir: Path
    baseline: str
    arms: Mapping[str, Arm]
    seeds: tuple[int, ...]
    modes: tuple[Mode, ...]
    processes: int = 1
    launcher: str = 'none'


def load(path: str | Path, work_dir: str | Path | None = None) -> Experiment:
    """Read an experiment.

    Args:
        path: YAML file.
        work_dir: Instead of the one in the file.

    Raises:
        UserError: Names what is wrong, and what is allowed there.
    """
    path = Path(path)
    try:
        return _experiment(path, _read(path), work_dir)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error


def _experiment(path: Path, document: object, work_dir: str | Path | None) -> Experiment:
    known = ('name', 'work_dir', 'baseline', 'seeds', 'options', 'arms', 'modes', 'processes', 'launcher')
    given = _mapping(document, 'the experiment', known, needed=('name', 'baseline', 'seeds', 'arms'))
    name = given['name']
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(f'name takes letters, digits and . + - _, got {name!r}')
    launcher, processes = given.get('launcher', 'none'), given.get('processes', 1)
    if launcher not in ('none', 'slurm'):
        raise UserError(f'launcher is none or slurm, got {launcher!r}')
    if not _is_number(processes, int) or processes < 1:
        raise UserError(f'processes is a number from 1, got {processes!r}')
    place = work_dir or given.get('work_dir') or f'work_dirs/{name}'
    if not isinstance(place, (str, Path)):
        raise UserError(f'work_dir is a folder, got {place!r}')
    arms = _arms(path, given)
    seeds, modes = _seeds(given['seeds']), _modes(given)
    return Experiment(name, path, Path(place), given['baseline'], arms, seeds, modes, processes, launcher)


def _arms(path: Path, given: Mapping) -> dict[str, Arm]:
    entries = _mapping(given['arms'], 'arms')
    if not entries:
        raise UserError('arms names no network')
    shared = _options(given.get('options'), 'options')
    arms = {}
    for name, entry in entries.items():
        place = f'arms.{name}'
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in OWN_FOLDERS:
            raise UserError(f'{place}: an arm is a folder named by letters, digits and . + - _, and not {OWN_FOLDERS}')
        entry = _mapping(entry, place, ('config', 'options', 'baseline', 'paper'), needed=('config',))
        baseline = entry.get('baseline', given['baseline'])
        if baseline not in entries:
            raise UserError(f'{place}: no arm is named {baseline!r} to be its baseline; there are {", ".join(entries)}')
        options = {**shared, **_options(entry.get('options'), f'{place}.options')}
        config = _config(path, entry['config'], place)
        paper = _paper(entry.get('paper'), f'{place}.paper')
        arms[name] = Arm(name, config, entry['config'], options, baseline, paper)
    return arms


def _config(path: Path, written: object, place: str) -> Path:
    if not isinstance(written, str):
        raise UserError(f'{place}.config is a file, got {written!r}')
    for folder in (path.parent, HOME):
        if (folder / written).is_file():
            return (folder / written).resolve()
    raise UserError(f'{place}: no such config: {written}, neither in {path.parent} nor in {HOME}')


def _seeds(given: object) -> tuple[int, ...]:
    whole = isinstance(given, list) and all(_is_number(seed, int) and seed >= 0 for seed in given)
    if not whole or not given or len(set(given)) < len(given):
        raise UserError(f'seeds is a list of different numbers from 0, such as [0, 1, 2], got {given!r}')
    return tuple(given)


def _modes(given: Mapping) -> tuple[Mode, ...]:
    modes = []
    for name, entry in _mapping(given.get('modes') or {'single-scale': {}}, 'modes').items():
        place = f'modes.{name}'
        entry = _mapping({} if entry is None else entry, place, ('tta', 'options'))
        if not isinstance(entry.get('tta', False), bool):
            raise UserError(f'{place}.tta is true or false, got {entry["tta"]!r}')
        mode = Mode(str(name), entry.get('tta', False), _options(entry.get('options'), f'{place}.options'))
        if not mode.slug or mode.slug in (other.slug for other in modes):
            raise UserError(f'{place}: the file names made of modes must differ, and this one gives {mode.slug!r}')
        modes.append(mode)
    return tuple(modes)


def _options(given: object, place: str) -> dict:
    options = _mapping({} if given is None else given, place)
    for key, value in options.items():
        if isinstance(value, dict) or not isinstance(key, str) or re.search(r'[=\s]', key):
            raise UserError(f'{place} takes dotted keys, such as train_cfg.max_iters: 100, got {key}: {value!r}')
    return dict(options)


def _paper(given: object, place: str) -> dict:
    numbers = _mapping({} if given is None else given, place, ('mIoU', 'mAcc'))
    for metric, pair in numbers.items():
        if not isinstance(pair, list) or len(pair) != 2 or not all(_is_number(value, (int, float)) for value in pair):
            raise UserError(f'{place}.{metric} is [mean, standard deviation], got {pair!r}')
    return dict(numbers)


def _is_number(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _mapping(given: object, place: str, known: tuple[str, ...] = (), needed: tuple[str, ...] = ()) -> dict:
    if not isinstance(given, dict):
        raise UserError(f'{place} takes "key: value" lines, got {given!r}')
    unknown = [str(key) for key in given if known and key not in known]
    if unknown:
        raise UserError(f'{place} has unknown {", ".join(unknown)}; it takes {", ".join(known)}')
    missing = [key for key in needed if given.get(key) is None]
    if missing:
        raise UserError(f'{place} lacks {", ".join(missing)}')
    return given


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise UserError(f'{", ".join(twice)} given twice (line {node.start_mark.line + 1})')
        return super().construct_mapping(node, deep)


def _read(path: Path) -> object:
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'cannot read the experiment: {error}') from error
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f'no YAML: {" ".join(str(error).split())}') from error
