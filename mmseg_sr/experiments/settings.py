"""The settings that a number was made under: the resolved config, what shapes the result in it, and a fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from ..config import load_config, merge_options, read_options, read_value, with_tta
from ..errors import UserError, blame
from ..models.block import SRBlock
from ..processes import quiet
from .plan import Arm, Experiment, Mode

TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks', 'randomness')
TESTING = ('test_dataloader', 'test_evaluator', 'tta_model', 'tta_pipeline')


def option_words(options: Mapping) -> list[str]:
    """Options as words of a command line.

    Example:
        >>> option_words({'model.pretrained': None, 'crop_size': [512, 1024]})
        ['model.pretrained=None', 'crop_size=[512,1024]']
        >>> option_words({'dataset.drives': ['0016E5', '0006R0']})  # the first would be read as a number
        ["dataset.drives=['0016E5', '0006R0']"]
    """
    return [f'{key}={_word(value)}' for key, value in options.items()]


def _word(value: object) -> str:
    plain = f'[{",".join(map(_word, value))}]' if isinstance(value, (list, tuple)) else str(value)
    return plain if read_value(plain) == value else repr(value)


def resolve(arm: Arm, seed: int | None = None, mode: Mode | None = None) -> Config:
    """The config that a tool works out from the same words: of the training, or of a test in a mode."""
    words = option_words({**arm.options, **(mode.options if mode else {})})
    parsed = read_options(words)
    with quiet('WARNING'):  # mmengine names, on stdout, each environment variable at each reading of a config
        cfg = load_config(arm.config, merge_options(parsed, {'randomness.seed': seed}))
    if mode and mode.tta:
        with_tta(cfg)  # says so where the config has none
    return cfg


def max_iterations(cfg: Config) -> int:
    """Length of the training, in iterations.

    Raises:
        UserError: For a config that counts in epochs.
    """
    iterations = (cfg.get('train_cfg') or {}).get('max_iters')
    if not isinstance(iterations, int):
        raise UserError(f'{cfg.filename}: an experiment needs train_cfg.max_iters, and it is {iterations!r}')
    return iterations


def fingerprint(exp: Experiment, arm: Arm, mode: Mode) -> str:
    """Name all settings that shape a result, but the seed, by 12 digits.

    A file or folder counts by its own name only: data that lie elsewhere are the same data.
    """
    cfg = resolve(arm, None, mode)
    keys = (*TRAINING, 'load_from', *(TESTING if mode.tta else TESTING[:2]))
    shaping = {key: _plain(cfg.get(key)) for key in keys}
    shaping['processes'] = exp.processes
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]


def differences(cfg: Config, folder: Path) -> list[str]:
    """Compare a training's config with the one that mmengine left in its work directory.

    Returns:
        What differs and shapes the training, as ``key: there -> here``; nothing where the folder holds no config.
    """
    left = folder / Path(cfg.filename).name
    if not left.is_file():
        return []
    there = Config.fromfile(left, import_custom_modules=False)
    found = []
    for key in TRAINING:
        _compare(key, _plain(there.get(key)), _plain(cfg.get(key)), found)
    return found


def _compare(place: str, there: object, here: object, found: list[str]) -> None:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            _compare(f'{place}.{key}', there.get(key), here.get(key), found)
    elif there != here:
        found.append(f'{place}: {there!r} -> {here!r}')


def _plain(node: object) -> object:
    """Make JSON of a config's value, without what depends on the machine only: folders, and SyncBN or BN."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    if isinstance(node, str):
        return 'BN' if node in ('SyncBN', 'MMSyncBN') else node.rpartition('/')[2] or node
    return node if isinstance(node, (bool, int, float, type(None))) else str(node)


def count_parameters(cfg: Config) -> dict[str, int]:
    """Count the parameters of a config's network, its auxiliary heads among them.

    Returns:
        'total', and 'sr', those of the SR blocks.
    """
    # Only shapes are wanted: on the meta device nothing is allocated.
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')), torch.device('meta'):
        with blame('build the model'):
            model = MODELS.build(cfg.model)
    blocks = [module for module in model.modules() if isinstance(module, SRBlock)]
    return {'total': _size([model]), 'sr': _size(blocks)}


def _size(modules: list[torch.nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
