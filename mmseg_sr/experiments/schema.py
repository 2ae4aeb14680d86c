"""Say what the YAML file of an experiment may hold, and what is wrong with one."""

import re
from collections.abc import Callable
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from ..metrics.groups import GROUPS
from ..metrics.tasks import CLASSIFICATION, SEGMENTATION

OWN_FOLDERS = ('logs', 'report', 'rows')  # of a work directory; rows/ is an earlier version's


def slug(name: str) -> str:
    """Turn the name of a mode into a file's.

    Example:
        >>> slug('multi-scale + flip')
        'multi-scale-flip'
    """
    return re.sub(r'[^a-z0-9.]+', '-', name.lower()).strip('-.')


def _must(words: str, check: Callable[[object], bool]) -> AfterValidator:
    def validate(value: object) -> object:
        if not check(value):
            raise ValueError(words)
        return value

    return AfterValidator(validate)


def _are_dotted(options: dict) -> bool:
    return not any(isinstance(value, dict) or re.search(r'[=\s]', key) for key, value in options.items())


def _are_files(modes: dict) -> bool:
    return all(slugs := [slug(name) for name in modes]) and len(set(slugs)) == len(slugs)


Name = Annotated[str, Field(pattern=r'^[A-Za-z0-9][\w.+-]*$')]
Folder = Annotated[Name, _must(f'An arm cannot be named {OWN_FOLDERS}', lambda name: name not in OWN_FOLDERS)]
Options = Annotated[
    dict[str, JsonValue], _must('Input should have dotted keys, as train_cfg.max_iters: 1', _are_dotted)
]
Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[list[Seed], Field(min_length=1), _must('Seeds should differ', lambda all: len(set(all)) == len(all))]
Metric = Literal[SEGMENTATION.metrics + CLASSIFICATION.metrics]
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
    controls: list[str] = []
    paper: dict[Metric, MeanStd] = {}


class _Mode(_Entry):
    tta: bool = False
    options: Options = {}


class _Primary(_Entry):
    metric: Metric = 'mIoU'
    mode: str = ''
    arms: list[str] = []


class Plan(_Entry):
    name: Name
    work_dir: str = ''
    baseline: str
    seeds: Seeds
    options: Options = {}
    arms: dict[Folder, _Arm] = Field(min_length=1)
    modes: Annotated[dict[str, _Mode], _must('Modes should differ as file names', _are_files)] = {'single-scale': {}}
    primary: _Primary = _Primary()
    checkpoint: Literal['last', 'best'] = 'last'
    groups: re.Pattern[str] = re.compile(GROUPS)
    processes: int = Field(1, ge=1)
    launcher: Literal['none', 'slurm'] = 'none'


def in_words(error: dict) -> str:
    """Name the place of a mistake, what is allowed there, and what stands there."""
    place, message = '.'.join(map(str, error['loc'])) or 'the experiment', error['msg'].removeprefix('Value error, ')
    if error['type'] == 'extra_forbidden':
        model = {'arms': _Arm, 'modes': _Mode, 'primary': _Primary}[error['loc'][0]] if len(error['loc']) > 1 else Plan
        message = f'There is no such key; there are {", ".join(model.model_fields)}'
    return f'{place}: {message}' + ('' if error['type'] == 'missing' else f', got {error["input"]!r}')


class Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [str(key.value) for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.MarkedYAMLError(None, None, f'{", ".join(twice)} given twice', node.start_mark)
        return super().construct_mapping(node, deep)
