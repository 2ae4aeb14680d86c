"""Load checkpoints for mmengine, safely. ``openmmlab.py`` gives it these functions, and says why."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModule, PretrainedInit, update_init_info
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint_to_model, load_state_dict
from torch import nn

from ..errors import UserError
from ..names import no_weights, released
from ..openmmlab import HOME, PACKAGE_SCHEME, SCHEME
from .reading import load, read_checkpoint
from .weights import check_some_fit, plain_weights


def load_from_local(filename: str, map_location: object = None) -> object:
    """Load a local file, as :func:`.load` does, or a released model by its name."""
    filename = os.path.expanduser(filename)
    if filename in released():
        return load_from_safetensors(released()[filename], map_location)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'{filename} can not be found.')
    return load(filename, map_location)


def load_from_safetensors(filename: str, map_location: str | torch.device | None = None) -> dict:
    """Read a local safetensors file, as :func:`.read_checkpoint` does, to a device; None for the CPU."""
    checkpoint = read_checkpoint(os.path.expanduser(filename))
    if map_location is not None:
        checkpoint['state_dict'] = {key: value.to(map_location) for key, value in checkpoint['state_dict'].items()}
    return checkpoint


def load_from_mmseg_sr(address: str, map_location: str | torch.device | None = None) -> dict:
    """Read weights that come with mmseg_sr by their address in a model index: ``mmseg_sr://checkpoints/<file>``."""
    path = HOME / address.removeprefix(SCHEME)
    if not path.is_file():
        raise no_weights(path.name)
    return load_from_safetensors(str(path), map_location)


def load_from_package(address: str, map_location: str | torch.device | None = None) -> object:
    """Read the file of weights that an installed Python package holds, as :func:`.load` does."""
    return load(file_in_package(address), map_location)


def file_in_package(address: str) -> Path:
    """Find, without reading it, the one ``.pth`` file in a package: ``package://<its name, as it is imported>``."""
    name = address.removeprefix(PACKAGE_SCHEME)
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None:
        raise UserError(f"{address}: the package is not installed. Run: pip install '{name.replace('_', '-')}'")
    files = [path for folder in found.submodule_search_locations or () for path in Path(folder).rglob('*.pth')]
    if len(files) != 1:
        raise UserError(f'{address}: one .pth file is wanted in the package, and it has {len(files)}')
    return files[0]


def init_pretrained(init: PretrainedInit, module: nn.Module) -> None:
    """Load pretrained weights as ``PretrainedInit``, and refuse a file of which not one weight fits."""
    print_log(f'load {init.prefix or "all"} of the weights from: {init.checkpoint}', logger='current')
    checkpoint = CheckpointLoader.load_checkpoint(init.checkpoint, init.map_location, 'current')
    prefix = f'{init.prefix.removesuffix(".")}.' if init.prefix else ''
    weights = checkpoint.get('state_dict', checkpoint) if prefix else plain_weights(checkpoint)
    check_some_fit(module, weights, init.checkpoint, prefix)
    if prefix:
        part = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        load_state_dict(module, part, logger='current')
    else:
        _load_checkpoint_to_model(module, checkpoint, logger='current')
    if hasattr(module, '_params_init_info'):
        update_init_info(module, init_info=init._get_init_info())


def pretrained_of(model: object, path: str = 'model') -> Iterator[tuple[str, str]]:
    """Yield the dotted keys under which a model's config names pretrained weights, and what stands there.

    Example:
        >>> list(pretrained_of(dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')))))
        [('model.backbone.init_cfg.checkpoint', 'a.pth')]
    """
    for key, value in model.items() if isinstance(model, dict) else ():
        if key in ('pretrained', 'checkpoint') and isinstance(value, str):
            yield f'{path}.{key}', value
        else:
            yield from pretrained_of(value, f'{path}.{key}')


def check_local_weights(cfg: Config) -> None:
    """Refuse a config whose network is to start from a file that is not there."""
    for key, value in [*pretrained_of(cfg.model), ('load_from', cfg.get('load_from') or '')]:
        if value.startswith(PACKAGE_SCHEME):
            file_in_package(value)
        elif value and '://' not in value and value not in released() and not Path(value).expanduser().is_file():
            raise UserError(f'{key}: there is no file {value}')


def check_own_loaders(model: nn.Module) -> None:
    """Refuse a pretrained file of which nothing came into a module that loads it in a way of its own, as Swin does.

    mmengine's way is checked by :func:`init_pretrained`; such modules rename what they take, and say nothing.
    """
    for module in model.modules():
        init = getattr(module, 'init_cfg', None)
        own = isinstance(module, BaseModule) and type(module).init_weights is not BaseModule.init_weights
        if not own or not isinstance(init, dict) or not init.get('checkpoint'):
            continue
        checkpoint = CheckpointLoader.load_checkpoint(init['checkpoint'], 'cpu', 'silent')
        inside = [value for value in module.state_dict().values() if value.is_floating_point()]
        if not any(_is_same(value, other) for value in _learned(checkpoint) for other in inside):
            kind = type(module).__name__
            raise UserError(f'{init["checkpoint"]} is of another network: nothing in it came into {kind}')


def _learned(node: object) -> Iterator[torch.Tensor]:
    """Yield the tensors in what was read, wherever it keeps them, but for those of one value: a norm starts so."""
    for value in node.values() if isinstance(node, dict) else ():
        yield from _learned(value)
    if isinstance(node, torch.Tensor) and node.is_floating_point() and node.numel() and node.min() < node.max():
        yield node


def _is_same(value: torch.Tensor, other: torch.Tensor) -> bool:
    return value.shape == other.shape and torch.equal(value.to(other), other)


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: object = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    **_: object,
) -> object:
    """Load from an address, or what was fetched from there before: ``torch.hub.load_state_dict_from_url``, safely."""
    path = Path(model_dir or f'{torch.hub.get_dir()}/checkpoints', file_name or Path(urlparse(url).path).name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f'Downloading: "{url}" to {path}')
        named = torch.hub.HASH_REGEX.search(path.name) if check_hash else None
        torch.hub.download_url_to_file(url, str(path), named and named[1], progress)
    return load(path, map_location)
