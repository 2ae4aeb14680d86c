"""Read what an experiment is to run from a YAML file.

name: table4                       # letters, digits and . + - _
work_dir: work_dirs/table4         # the default is work_dirs/ and the name; below the working directory
baseline: FCN                      # the arm that the others are compared with
seeds: [0, 1, 2, 3, 4]
primary: {metric: mIoU, mode: single-scale, arms: [FCN+SR]}   # the one question that gets a verdict; the default is
                                   # mIoU, the first mode, and all arms but baselines and controls; of
                                   # classifiers the metric is top1
groups: '[^/_]*[/_]'               # drive or city of an image: what this regular expression finds at the start of its
                                   # name (this is the default); images of one group resemble each other
options: {train_dataloader.num_workers: 1}     # values of the config to overwrite, in all arms
arms:
  FCN:
    config: configs/fcn/....py     # beside the YAML file, in the checkout, or a model of the index
    paper: {mIoU: [77.33, 0.16]}   # published mean and standard deviation, to stand beside ours
  FCN+SR:
    config: configs/fcn/...-sr.py
    options: {optim_wrapper.optimizer.lr: 0.02}
    baseline: FCN                  # where it is not the experiment's
    controls: [SE]                 # arms that a gain of the block must be above too, such as one with as many numbers
modes:                             # how each network is tested; single-scale is the default
  single-scale: {}
  multi-scale + flip: {tta: true}
  slide: {options: {model.test_cfg.mode: slide}}
checkpoint: best                   # of each training, by save_best of its config, where it validates on other images
                                   # than it tests on; the default is last
processes: 4                       # of each run, by tools/dist_train.sh; the default is 1
launcher: slurm                    # the default is none
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import ValidationError

from ..errors import UserError
from ..metrics.groups import GROUPS
from ..metrics.intervals import LEAST_SEEDS
from ..names import find_config
from ..openmmlab import HOME
from .schema import Loader, Plan, in_words, slug


@dataclass(frozen=True)
class Mode:
    """A way to test a network: with test-time augmentation or without, and options of the config."""

    name: str
    tta: bool = False
    options: Mapping = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return slug(self.name)


@dataclass(frozen=True)
class Arm:
    """One of the networks compared. ``written`` is its config as the YAML file names it."""

    name: str
    config: Path
    written: str
    options: Mapping
    baseline: str
    paper: Mapping
    controls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Primary:
    """The question that an experiment was made for: are these arms better in this mode, by this metric?"""

    metric: str
    mode: str
    arms: tuple[str, ...]


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
    primary: Primary
    groups: str = GROUPS
    processes: int = 1
    launcher: str = 'none'
    checkpoint: str = 'last'

    def asks(self, arm: str, mode: str) -> bool:
        """Whether an arm in a mode belongs to the primary question."""
        return arm in self.primary.arms and mode == self.primary.mode

    @property
    def can_answer(self) -> bool:
        """Whether there are seeds enough for a verdict."""
        return len(self.seeds) >= LEAST_SEEDS


def load(path: str | Path, work_dir: str | Path | None = None) -> Experiment:
    """Read an experiment from a YAML file; ``work_dir`` goes before the one in it.

    Raises:
        UserError: Names the file, the place in it, what stands there, and what is allowed.
    """
    path = Path(path)
    try:
        plan = Plan.model_validate(yaml.load(path.read_text(encoding='utf-8'), Loader=Loader))
        arms = {name: _arm(path, plan, name) for name in plan.arms}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f'{path}: cannot read the experiment: {" ".join(str(error).split())}') from error
    except ValidationError as error:
        raise UserError(f'{path}: {"; ".join(map(in_words, error.errors()))}') from error
    return Experiment(
        path=path,
        work_dir=Path(work_dir or plan.work_dir or f'work_dirs/{plan.name}'),
        arms=arms,
        seeds=tuple(plan.seeds),
        modes=tuple(Mode(name, mode.tta, mode.options) for name, mode in plan.modes.items()),
        primary=_primary(path, plan, arms),
        groups=plan.groups.pattern,
        **plan.model_dump(include={'name', 'baseline', 'processes', 'launcher', 'checkpoint'}),
    )


def _arm(path: Path, plan: Plan, name: str) -> Arm:
    lines, place = plan.arms[name], f'{path}: arms.{name}'
    baseline = lines.baseline or plan.baseline
    for other, role in ((baseline, 'baseline'), *((control, 'control') for control in lines.controls)):
        if other not in plan.arms:
            raise UserError(f'{place}: no arm is named {other!r} to be its {role}; there are {", ".join(plan.arms)}')
    config, options = _config(path, place, lines.config), {**plan.options, **lines.options}
    return Arm(name, config, lines.config, options, baseline, lines.paper, tuple(lines.controls))


def _config(path: Path, place: str, written: str) -> Path:
    """Find a config beside the YAML file, in the checkout, or by its name."""
    for folder in (path.parent, HOME):
        if (folder / written).is_file():
            return (folder / written).resolve()
    try:
        return find_config(written).resolve()
    except UserError as error:
        raise UserError(f'{place}: {error} (neither in {path.parent} nor in {HOME})') from error


def _primary(path: Path, plan: Plan, arms: Mapping[str, Arm]) -> Primary:
    asked = plan.primary
    beside = {arm.baseline for arm in arms.values()} | {name for arm in arms.values() for name in arm.controls}
    candidates = [name for name in arms if arms[name].baseline != name]
    chosen = asked.arms or [name for name in candidates if name not in beside]
    for name in chosen:
        if name not in candidates:
            words = ', '.join(candidates) or 'none'
            raise UserError(f'{path}: primary.arms: arms with a baseline are {words}, got {name!r}')
    mode = asked.mode or next(iter(plan.modes))
    if mode not in plan.modes:
        raise UserError(f'{path}: primary.mode: modes are {", ".join(plan.modes)}, got {mode!r}')
    return Primary(asked.metric, mode, tuple(chosen))
