"""Check what a config says of SR blocks, and build them. A wrong value is a ValueError with the value in it."""

import math

import torch
from mmengine.model import weight_init  # noqa: F401  (registers the initialisers)
from mmseg.registry import MODELS
from torch import nn

from ..kinds import kind_of

MAX_NUMBERS = 2**31 - 1  # in one tensor; many kernels count them in 32 bits


def positive(value: int, name: str) -> int:
    """Return a positive integer; refuse anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f'{name} must be a positive integer, got {value!r}')
    return value


def pair(value: tuple[int, int]) -> tuple[int, int]:
    """Return the height and the width of a memory; refuse anything else."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f'memory_size must be (H, W), the height and width of the feature map, got {value!r}')
    return positive(value[0], 'the height in memory_size'), positive(value[1], 'the width in memory_size')


def switch(value: bool, name: str) -> bool:
    """Return True or False; refuse anything else."""
    if not isinstance(value, bool):
        raise ValueError(f'{name} must be True or False, got {value!r}')
    return value


def check_shapes(**shapes: tuple[int, ...]) -> None:
    """Refuse tensors that nobody wants, before there is an attempt to make them."""
    for name, shape in shapes.items():
        if math.prod(shape) > MAX_NUMBERS:
            raise ValueError(
                f'the {name} of shape {shape} would have {math.prod(shape):,} numbers, and {MAX_NUMBERS:,} is the '
                'limit. memory_size is in cells of the feature map, not in pixels of the image'
            )


def check_config(name: str, value: object) -> None:
    """Refuse what is no config of a module."""
    if not isinstance(value, dict) or 'type' not in value:
        raise ValueError(f"{name} must be a config, dict(type='...', ...), got {value!r}")


def listed(value: object) -> list:
    """Return a list for what may be one thing, several or None."""
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def check_init_cfg(value: object) -> None:
    """Refuse what mmengine cannot initialise by, before it tries to."""
    for each in listed(value):
        check_config('init_cfg', each)
        if kind_of(each, 'WEIGHT_INITIALIZERS') is None:
            raise ValueError(f'init_cfg: there is no initialiser {each["type"]!r}')


def block_options(sr: object) -> list[dict]:
    """Return the options of one block or several, as copies.

    Example:
        >>> block_options(dict(after='layer3'))
        [{'after': 'layer3'}]
    """
    blocks = listed(sr)
    if not blocks or not all(isinstance(options, dict) for options in blocks):
        raise ValueError(f'sr must be the options of a block, dict(memory_size=(H, W), ...), or a list, got {sr!r}')
    return [dict(options) for options in blocks]


def build_backbone(backbone: dict, pretrained: str | None, init_cfg: dict | list[dict] | None) -> nn.Module:
    """Build the stock backbone of a config. What stands beside the config, not None, is handed on to it.

    Raises:
        ValueError: For what is no config, and for what is given twice.
    """
    check_config('backbone', backbone)
    check_init_cfg(init_cfg)
    if not isinstance(pretrained, (str, type(None))):
        raise ValueError(f'pretrained must be the place of a checkpoint or None, got {pretrained!r}')
    backbone = dict(backbone)
    for key, value in dict(pretrained=pretrained, init_cfg=init_cfg).items():
        if value is not None and backbone.get(key) is not None:
            raise ValueError(f'{key} is given twice, beside backbone ({value!r}) and in it ({backbone[key]!r})')
        if value is not None:
            backbone[key] = value
    return MODELS.build(backbone)


def build_block(options: dict, in_channels: int) -> nn.Module:
    """Build an SR block, or another registered one, for maps of ``in_channels``.

    Raises:
        ValueError: For options that the block does not have or lacks, wrong values, an unknown ``type``, or other
            channels than those of the maps.
    """
    if options.get('in_channels', in_channels) != in_channels:
        raise ValueError(
            f'sr: in_channels={options["in_channels"]!r}, and the maps there have {in_channels}: leave it out'
        )
    try:
        return build_apart({'type': 'SRBlock', **options, 'in_channels': in_channels})
    except (KeyError, TypeError) as error:  # no such type; no such option, or one too few
        raise ValueError(f'sr: cannot build a block of {options}: {error}') from error


def build_apart(config: dict) -> nn.Module:
    """Build a module with random numbers of its own, and initialise it by its own ``init_cfg``.

    mmengine would do that later only for what lies in a module of its own, which an ``nn.Sequential`` is not.
    """
    with torch.random.fork_rng(devices=[]):
        module = MODELS.build(config)
        if config.get('init_cfg'):
            module.init_weights()
    return module
