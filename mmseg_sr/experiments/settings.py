"""Resolve the config of a run, write it for the tools, and name the settings that shape a number."""

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..atomic import write_text
from ..config import SYNC_BN, load_config, with_tta
from ..cost import count
from ..errors import UserError, blame
from ..options import merge_options
from ..processes import quiet
from .plan import Arm, Experiment, Mode

TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks', 'randomness')
TESTING = ('test_dataloader', 'test_evaluator', 'tta_model', 'tta_pipeline')


def resolve(arm: Arm, seed: int | None = None, mode: Mode | None = None) -> Config:
    """Read the config of a training, or of a test in a mode, with the experiment's options in it."""
    cfg = _read(arm, _options(arm, seed, mode))
    if mode and mode.tta:
        with_tta(cfg)  # says so where the config has none
    return cfg


def write_config(path: Path, work_dir: Path, arm: Arm, seed: int | None = None, mode: Mode | None = None) -> None:
    """Write the config of a run for the tools: what the run changes in the arm's config, which stays its base.

    So environment variables in that are read where the run is. A base cannot be code throughout (``read_base``), nor
    be changed within a list: then it is the whole config.
    """
    options = merge_options(_options(arm, seed, mode), {'work_dir': str(work_dir)})
    if Config._is_lazy_import(str(arm.config)) or re.search(r'\.\d+(\.|$)', '\n'.join(options), re.M):
        base, cfg = '', _read(arm, options)
    else:
        base, cfg = f'_base_ = {str(arm.config)!r}\n', Config()
        cfg.merge_from_dict(options)
    imports = f'import sys\n\nsys.path.append({str(arm.config.parent)!r})  # custom_imports may lie there\n'
    write_text(path, f'{imports}{base}{cfg.pretty_text}')


def _options(arm: Arm, seed: int | None, mode: Mode | None) -> dict:
    return merge_options({**arm.options, **(mode.options if mode else {})}, {'randomness.seed': seed})


def _read(arm: Arm, options: dict) -> Config:
    with quiet('WARNING'):  # mmengine names, on stdout, each environment variable at each reading of a config
        return load_config(arm.config, options)


def max_iterations(cfg: Config) -> int:
    """Return the length of the training, in iterations.

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
    shaping = _settings(cfg, keys)
    shaping['processes'] = exp.processes
    shaping |= {} if exp.checkpoint == 'last' else {'checkpoint': exp.checkpoint}
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]


def differences(cfg: Config, folder: Path) -> list[str]:
    """Compare a training's config with the one that mmengine left in its work directory.

    Returns:
        What differs and shapes the training, as ``key: there -> here``; nothing where the folder holds no config.
    """
    left = folder / f'{Path(cfg.filename).stem}.py'
    if not left.is_file():
        return []
    both = (Config.fromfile(left, import_custom_modules=False), cfg)
    there, here = (dict(_leaves(_settings(each, TRAINING))) for each in both)
    keys = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    return [f'{key}: {there.get(key)!r} -> {here.get(key)!r}' for key in keys]


def _settings(cfg: Config, keys: Sequence[str]) -> dict:
    given = cfg.to_dict()  # a class that a config of Python throughout has for a ``type`` is its name here
    return {key: _plain(given.get(key)) for key in keys}


def _leaves(node: dict, place: str = '') -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        inner = isinstance(value, dict) and value  # an empty one is a leaf
        yield from _leaves(value, f'{place}{key}.') if inner else [(place + key, value)]


def _plain(node: object) -> object:
    """Make JSON of a config's value, without what depends on the machine only: folders, and SyncBN or BN."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    if isinstance(node, str):
        return 'BN' if node.rpartition('.')[2] in SYNC_BN else node.rpartition('/')[2] or node
    return node if isinstance(node, (bool, int, float, type(None))) else str(node)


def has_blocks(arm: Arm) -> bool:
    """Whether the network of an arm has SR blocks."""
    return count_parameters(resolve(arm))['sr'] > 0


_counted: dict[str, dict[str, int]] = {}  # by the model's config: arms, seeds and modes share networks


def count_parameters(cfg: Config) -> dict[str, int]:
    """Count the parameters of a config's network, its auxiliary heads among them: 'total', and 'sr' of the blocks."""
    key = repr(cfg.model)
    if key not in _counted:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')), blame('build the model'):
            counted = count.count_parameters(_shapes(cfg.model))
        _counted[key] = {'total': counted['all'], 'sr': counted['sr']}
    return _counted[key]


def _shapes(model: dict) -> nn.Module:
    """Build a model where nothing is allocated; elsewhere where it asks for a value of a tensor, as mmpretrain's do."""
    with contextlib.suppress(Exception), torch.device('meta'):  # a mistake in the config is one there too
        return MODELS.build(copy.deepcopy(model))
    return MODELS.build(copy.deepcopy(model))
