"""Put modules behind named modules of a stock network. Every key of a stock checkpoint keeps its name."""

import inspect
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..errors import one_line
from .checks import build_apart, build_backbone, check_config, listed


@MODELS.register_module()
@ROOT_MODELS.register_module()
def InsertedBackbone(
    backbone: dict,
    insert: Mapping[str, dict],
    use: Sequence[str] = (),
    pretrained: str | None = None,
    init_cfg: dict | list[dict] | None = None,
) -> nn.Module:
    """Build ``backbone`` and put modules behind modules of it: a catalogue says which there are, a list which to use.

    So a row of a table is ``use=['D2D', 'SR4']``. A module is appended where it follows an ``nn.Sequential``, and
    runs by a forward hook elsewhere: behind a norm layer, or in a VGG, which runs its layers one by one. Each runs once
    a pass. From one seed the stock weights are the same with and without them, if the backbone's ``init_cfg`` draws for
    none of their layers: it does for none of this project's blocks.

    Args:
        backbone: Config of a stock backbone. Its ``type`` is looked for in the default scope, in mmseg where there
            is none.
        insert: Configs of modules by name. ``after`` is the name of a module of the backbone or a regular expression
            that fits whole names; the module is built for each that fits. ``in_channels`` is worked out for the
            modules that take it. Any registered module will do, and any class by its path: 'torch.nn.Dropout2d'.
        use: Names of those to put in. Where two follow one module, this is their order.
        pretrained: As for the stock backbone; a segmentor sets it here.
        init_cfg: As for the stock backbone.

    Returns:
        The stock backbone, with ``<after>.<name>`` added.

    Raises:
        ValueError: For a name that is not in the catalogue, an ``after`` that fits nothing, a module that does not
            run once a pass or gives no map (N, C, h, w), and for options that are wrong.

    Example:
        >>> stock = dict(type='ResNet', depth=18, zero_init_residual=False)
        >>> drop = dict(type='torch.nn.Dropout2d', p=0.1, after=r'layer[34]')
        >>> se = dict(type='SEBlock', after=r'layer4\\.\\d+\\.bn2')
        >>> resnet = InsertedBackbone(stock, insert=dict(D2D=drop, SE=se), use=['SE'])
        >>> [name for name, _ in resnet.named_modules() if name.endswith('SE')]
        ['layer4.0.bn2.SE', 'layer4.1.bn2.SE']
    """
    network = build_backbone(backbone, pretrained, init_cfg)
    places = {name: _fitting(network, name, insert[name].get('after')) for name in _chosen(insert, use)}
    outputs = outputs_of(network, {place: module for found in places.values() for place, module in found.items()})
    for name, found in places.items():
        for place, module in found.items():
            channels = _channels(f'{name}: {place}', outputs[place])
            if isinstance(module, nn.SyncBatchNorm):
                raise ValueError(f'insert.{name}: {place} is a SyncBN, which is replaced on a CPU: take BN')
            if _is_overridden(network, place):
                more = 'so would be what follows it: set zero_init_residual=False in the backbone'
                raise ValueError(f'insert.{name}: the weights of {place} are initialised apart, and {more}')
            put_after(module, name, _build(name, insert[name], channels))
    return network


def _chosen(insert: object, use: object) -> list[str]:
    if not isinstance(insert, Mapping) or not all(isinstance(options, dict) for options in insert.values()):
        raise ValueError(f'insert must be configs by name, dict(SR=dict(type=..., after=...)), got {insert!r}')
    if not isinstance(use, (list, tuple)):
        raise ValueError(f'use must be a list of names of insert, got {use!r}')
    for name in use:
        if name not in insert or use.count(name) > 1:
            raise ValueError(f'use must name each of {", ".join(insert) or "none"} at most once, got {list(use)}')
        if not re.fullmatch(r'\w+', name):
            raise ValueError(f'insert: a name has letters, digits and _ only, got {name!r}')
        check_config(f'insert.{name}', insert[name])
    return list(use)


def _fitting(network: nn.Module, name: str, after: object) -> dict[str, nn.Module]:
    """Find the modules whose names ``after`` fits."""
    try:
        known = {place: module for place, module in network.named_modules() if place}
        found = {place: module for place, module in known.items() if re.fullmatch(after, place)}
    except (re.error, TypeError) as error:
        raise ValueError(f'insert.{name}: after={after!r} is no name and no regular expression: {error}') from error
    if not found:
        tops = ', '.join(place for place in known if '.' not in place)
        kind = type(network).__name__
        raise ValueError(f'insert.{name}: {kind} has no module that after={after!r} fits, only {tops} and their parts')
    return found


def _is_overridden(network: nn.Module, place: str) -> bool:
    """Tell whether an ``override`` of mmengine's initialisation configs would reach into a module."""
    parent = network.get_submodule(place.rpartition('.')[0])
    given = listed(getattr(parent, 'init_cfg', None))
    names = [override['name'] for each in given for override in listed(each.get('override'))]
    return any(getattr(parent, name, None) is network.get_submodule(place) for name in names)


def _channels(place: str, outputs: Sequence[object]) -> int:
    if len(outputs) != 1:
        raise ValueError(f'insert.{place} runs {len(outputs)} times in a pass, and a module can follow what runs once')
    if not isinstance(outputs[0], Tensor) or outputs[0].dim() != 4:
        raise ValueError(f'insert.{place} gives no map (N, C, h, w), and a module can follow what does')
    return outputs[0].shape[1]


def _build(name: str, options: dict, channels: int) -> nn.Module:
    options = {key: value for key, value in options.items() if key != 'after'}
    try:
        kind = MODELS.get(options['type']) if isinstance(options['type'], str) else options['type']
        if 'in_channels' in inspect.signature(kind).parameters:
            options = {'in_channels': channels, **options}
        if options.get('in_channels', channels) != channels:
            raise ValueError(f'in_channels={options["in_channels"]}, and the maps there have {channels}: leave it out')
        return build_apart(options)
    except (KeyError, TypeError, ValueError) as error:  # no such type; another option, or one too few; a wrong value
        raise ValueError(f'insert.{name}: cannot build {options}: {one_line(error)}') from error


def put_after(module: nn.Module, name: str, follower: nn.Module, frozen_with_it: bool = True) -> None:
    """Let ``follower`` run on what ``module`` gives out, as its child ``name``; a name that is taken is a ValueError.

    Where all weights of the module are frozen so are the follower's, unless ``frozen_with_it`` is off.
    """
    if hasattr(module, name):
        raise ValueError(f'{type(module).__name__} has a {name!r} already')
    weights = list(module.parameters())
    if frozen_with_it and weights and not any(weight.requires_grad for weight in weights):
        # network.train() would, but only after DDP, which waits for the gradients of all it is given, has taken it.
        follower.requires_grad_(False)
    module.add_module(name, follower)
    if type(module).forward is not nn.Sequential.forward:
        module.register_forward_hook(partial(_run, name=name))


def _run(module: nn.Module, args: object, output: Tensor, name: str) -> Tensor:
    """Run the follower of this copy of the module, if nobody has taken it out."""
    return module._modules[name](output) if name in module._modules else output


def outputs_of(network: nn.Module, modules: Mapping[str, nn.Module]) -> dict[str, list]:
    """List what these modules of a backbone give out in a pass over an empty image, which changes nothing in it.

    Raises:
        ValueError: For a backbone without a convolution, or that takes images of one size only.
    """
    first = first_convolution(network)
    if first is None:
        raise ValueError(f'{type(network).__name__} has no convolution: use SRNeck behind it')
    outputs = {name: [] for name in modules}
    handles = [
        module.register_forward_hook(lambda module, args, output, name=name: outputs[name].append(output))
        for name, module in modules.items()
    ]
    image = first.weight.new_zeros(1, first.in_channels, 64, 128)  # at a stride of 64 still two cells
    try:
        with _evaluating(network), torch.no_grad():
            network(image)
    except Exception as error:  # what a backbone raises for an image of another size than its own is its own
        raise ValueError(
            f'{type(network).__name__} cannot run on an image of {tuple(image.shape)}, by which its stages would be '
            f'found ({one_line(error)}): use SRNeck behind it'
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return outputs


@contextmanager
def _evaluating(network: nn.Module):
    """Evaluation mode, module by module: ``network.train()`` would not restore what stages had set apart."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def first_convolution(network: nn.Module) -> nn.Conv2d | None:
    """Return the convolution that takes the image: it tells the channels."""
    return next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
