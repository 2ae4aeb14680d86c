"""Find configs and weights by the names of the model index, where a file could be named too; tell names apart."""

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml
from mmengine.config import Config

from .errors import UserError, one_line
from .openmmlab import HOME, SCHEME


@cache
def model_index() -> dict[str, dict]:
    """The models of model-index.yml by their names: what their metafiles say."""
    files = yaml.safe_load((HOME / 'model-index.yml').read_text(encoding='utf-8'))['Import']
    metafiles = [yaml.safe_load((HOME / name).read_text(encoding='utf-8')) for name in files]
    return {model['Name']: model for metafile in metafiles for model in metafile['Models']}


def released() -> dict[str, Path]:
    """The files of released weights by the names of their models."""
    models = model_index().items()
    return {name: HOME / model['Weights'].removeprefix(SCHEME) for name, model in models if 'Weights' in model}


def find_config(name: str | Path) -> Path:
    """Find the file of a config: the file itself, ``mmseg_sr::`` or ``mmseg::`` and a path, or a model of the index.

    Raises:
        UserError: Where there is none; the message names the nearest.

    Example:
        >>> find_config('fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024').name
        'fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py'
    """
    path, index = Path(name), model_index()
    if path.is_file():
        return path
    if str(name) in index:
        return HOME / index[str(name)]['Config']
    if '::' in str(name):
        try:
            found = Path(Config._get_cfg_path(str(name), '')[0])
        except Exception as error:  # mmengine has several: a package that is not there, or without configs
            raise UserError(f'no such config: {name} ({one_line(error)}){nearest(path.stem, index)}') from error
        if found.is_file():
            return found
    raise UserError(f'no such config: {name}{nearest(path.stem, index)}')


def find_checkpoint(name: str | Path) -> str | Path:
    """Find the file of weights: the file itself, or that of a released model of the index. Addresses stay.

    Raises:
        UserError: Where there is none; the message names the nearest.
    """
    path, files = Path(name), released()
    if path.is_file() or '://' in str(name):
        return name
    if path.expanduser().is_file():  # in a config no shell has made a folder of ~
        return path.expanduser()
    if str(name) in files:
        return files[str(name)]
    if str(name) in model_index():
        raise no_weights(str(name))
    raise UserError(f'no such checkpoint: {name}{nearest(path.stem, files)}')


def distinct(names: Iterable[str]) -> list[str]:
    """Add its number to a class whose name another one before it has: ImageNet has two of them that are called crane.

    Example:
        >>> distinct(['crane', 'pug', 'crane'])
        ['crane', 'pug', 'crane (2)']
    """
    known: dict[str, int] = {}
    return [name if known.setdefault(name, i) == i else f'{name} ({i})' for i, name in enumerate(names)]


def no_weights(name: str) -> UserError:
    """The error for a model without released weights."""
    return UserError(
        f'mmseg_sr comes with no weights of {name}. Train it and give the file, weights=FILE in a program. '
        f'It comes with those of {", ".join(sorted(released()))}'
    )


def nearest(stem: str, names: Iterable[str]) -> str:
    """Say which names are nearest to one that there is not, as the end of a message."""
    near = difflib.get_close_matches(stem, names, 2)
    return f'. The nearest names are {" and ".join(near)}' if near else ''
