"""Read what an experiment is to run from a YAML file.

name: table4                       # letters, digits and . + - _
work_dir: work_dirs/table4         # the default is work_dirs/ and the name; below the working directory
baseline: FCN                      # the arm that the others are compared with
seeds: [0, 1, 2, 3, 4]
options: {train_dataloader.num_workers: 1}     # values of the config to overwrite, in all arms
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from ..errors import UserError
from ..openmmlab import HOME

OWN_FOLDERS = ('logs', 'report', 'rows')  # of a work directory; rows/ is an earlier version's


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
    """One of the networks compared. ``written`` is its config as the YAML file names it."""

    name: str
    config: Path
    written: str
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
    """Read an experiment from a YAML file; ``work_dir`` goes before the one in it.

    Raises:
        UserError: Names the file, the place in it, what stands there, and what is allowed.
    """
    path = Path(path)
    try:
        plan = _Plan.model_validate(yaml.load(path.read_text(encoding='utf-8'), Loader=_Loader))
        arms = {name: _arm(path, plan, name) for name in plan.arms}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f'{path}: cannot read the experiment: {" ".join(str(error).split())}') from error
    except ValidationError as error:
        raise UserError(f'{path}: {"; ".join(map(_in_words, error.errors()))}') from error
    folder = Path(work_dir or plan.work_dir or f'work_dirs/{plan.name}')
    modes = tuple(Mode(name, mode.tta, mode.options) for name, mode in plan.modes.items())
    seeds = tuple(plan.seeds)
    return Experiment(plan.name, path, folder, plan.baseline, arms, seeds, modes, plan.processes, plan.launcher)


def _arm(path: Path, plan: '_Plan', name: str) -> Arm:
    lines, place = plan.arms[name], f'{path}: arms.{name}'
    baseline = lines.baseline or plan.baseline
    if baseline not in plan.arms:
        raise UserError(f'{place}: no arm is named {baseline!r} to be its baseline; there are {", ".join(plan.arms)}')
    found = [folder / lines.config for folder in (path.parent, HOME) if (folder / lines.config).is_file()]
    if not found:
        raise UserError(f'{place}: no such config: {lines.config}, neither in {path.parent} nor in {HOME}')
    return Arm(name, found[0].resolve(), lines.config, {**plan.options, **lines.options}, baseline, lines.paper)


# What the file may say, beside what pydantic knows of the types.


def _must(words: str, check: Callable[[object], bool]) -> AfterValidator:
    def validate(value: object) -> object:
        if not check(value):
            raise ValueError(words)
        return value

    return AfterValidator(validate)


def _are_dotted(options: dict) -> bool:
    return not any(isinstance(value, dict) or re.search(r'[=\s]', key) for key, value in options.items())


def _are_files(modes: dict) -> bool:
    return all(slugs := [Mode(name).slug for name in modes]) and len(set(slugs)) == len(slugs)


Name = Annotated[str, Field(pattern=r'^[A-Za-z0-9][\w.+-]*$')]
Folder = Annotated[Name, _must(f'An arm cannot be named {OWN_FOLDERS}', lambda name: name not in OWN_FOLDERS)]
Options = Annotated[
    dict[str, JsonValue], _must('Input should have dotted keys, as train_cfg.max_iters: 1', _are_dotted)
]
Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[list[Seed], Field(min_length=1), _must('Seeds should differ', lambda all: len(set(all)) == len(all))]
MeanStd = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Entry(BaseModel):
    """Lines of 'key: value', of which those without a value are as left out."""

    model_config = ConfigDict(strict=True, extra='forbid', validate_default=True)

    @model_validator(mode='before')
    @classmethod
    def _given(cls, lines: object) -> object:
        lines = {} if lines is None else lines
        return {key: line for key, line in lines.items() if line is not None} if isinstance(lines, dict) else lines


class _Arm(_Entry):
    config: str
    options: Options = {}
    baseline: str = ''
    paper: dict[Literal['mIoU', 'mAcc'], MeanStd] = {}


class _Mode(_Entry):
    tta: bool = False
    options: Options = {}


class _Plan(_Entry):
    name: Name
    work_dir: str = ''
    baseline: str
    seeds: Seeds
    options: Options = {}
    arms: dict[Folder, _Arm] = Field(min_length=1)
    modes: Annotated[dict[str, _Mode], _must('Modes should differ as file names', _are_files)] = {'single-scale': {}}
    processes: int = Field(1, ge=1)
    launcher: Literal['none', 'slurm'] = 'none'


def _in_words(error: dict) -> str:
    """Name the place of a mistake, what is allowed there, and what stands there."""
    place, message = '.'.join(map(str, error['loc'])) or 'the experiment', error['msg'].removeprefix('Value error, ')
    if error['type'] == 'extra_forbidden':
        model = {'arms': _Arm, 'modes': _Mode}[error['loc'][0]] if len(error['loc']) > 1 else _Plan
        message = f'There is no such key; there are {", ".join(model.model_fields)}'
    return f'{place}: {message}' + ('' if error['type'] == 'missing' else f', got {error["input"]!r}')


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [str(key.value) for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.MarkedYAMLError(None, None, f'{", ".join(twice)} given twice', node.start_mark)
        return super().construct_mapping(node, deep)
