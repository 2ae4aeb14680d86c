"""Put SR blocks after stages of a stock backbone, wired in, not copied.

What comes back is the stock backbone itself with one more module at the end of a stage's ``nn.Sequential``. So
its forward, ``out_indices``, dilations and frozen stages work as ever, every key of a stock checkpoint keeps its
name, and only ``<stage>.sr.*`` is new.
"""

import inspect
from functools import partial

from mmengine.registry import MODELS as ROOT_MODELS
from mmseg.registry import MODELS
from torch import Tensor, nn

from .block import SRBlock
from .checks import block_options, build_backbone, build_block, switch
from .insert import outputs_of, put_after


@MODELS.register_module()  # so that 'mmseg.' before the name is right too
@ROOT_MODELS.register_module()
def SRBackbone(
    backbone: dict,
    sr: dict | list[dict],
    pretrained: str | None = None,
    init_cfg: dict | list[dict] | None = None,
    scene: bool = False,
    **misplaced: object,
) -> nn.Module:
    """Build ``backbone`` and put an SR block after one of its stages, or after several.

    A stage is named as in the backbone ('layer3'), never numbered: the paper counts them from 0 on Cityscapes
    and from 1 elsewhere. It is registered in mmengine's root registry, so mmseg and mmpretrain both find it; the
    backbone inside is looked for in the default scope, in mmseg where there is none.

    Args:
        backbone: Config of a stock backbone, whose stages are ``nn.Sequential``.
        sr: ``after`` (the stage's name) and the options of :class:`SRBlock` but for ``in_channels``, which is
            worked out; several blocks as a list. ``type`` may name another registered block. A block in a frozen
            stage is frozen with it; with ``keep_trainable=True`` it learns all the same.
        pretrained: As for the stock backbone; a segmentor sets it here.
        init_cfg: As for the stock backbone.
        scene: Whether the memories cover the scene: blocks are of type 'SceneSRBlock' where ``sr`` names none, and
            images come with two more channels, from :class:`SceneDataPreProcessor`. An image without them shows the
            whole scene; in a training it is refused.

    Returns:
        The stock backbone, with ``<after>.sr`` added.

    Raises:
        ValueError: For a stage that does not exist, cannot take a block or has one already (the message lists
            the stages that can), and for options that are wrong, or ``misplaced``: those of the stock backbone go
            into its own config, a block's into ``sr``.

    Example:
        >>> from mmseg.registry import MODELS
        >>> resnet = MODELS.build(dict(type='SRBackbone', backbone=dict(type='ResNet', depth=18),
        ...                            sr=dict(after='layer3', memory_size=(8, 16), num_memories=3)))
        >>> type(resnet).__name__, resnet.layer3.sr.memory.shape
        ('ResNet', torch.Size([3, 256, 8, 16]))
    """
    for name in misplaced:
        place = 'sr' if name in inspect.signature(SRBlock).parameters else 'backbone.backbone'
        raise ValueError(f'SRBackbone has no option {name}: set {place}.{name}')
    kind = 'SceneSRBlock' if switch(scene, 'scene') else 'SRBlock'
    blocks = block_options(sr)
    network = build_backbone(backbone, pretrained, init_cfg)
    channels = stage_channels(network)
    for options in blocks:
        after, keep = options.pop('after', None), switch(options.pop('keep_trainable', False), 'keep_trainable')
        _check_stage(network, after, channels)
        _insert(network, after, build_block({'type': kind, **options}, channels[after]), keep)
    if scene:
        MODELS.build(dict(type='carry_place', network=network))  # of the room scene, found by its registered name
    return network


def _check_stage(network: nn.Module, after: object, channels: dict[str, int]) -> None:
    if not isinstance(after, str) or after not in channels:
        names = f'{", ".join(channels)}; SRNeck takes' if channels else 'none; use SRNeck behind the backbone, for'
        raise ValueError(
            f'sr: {type(network).__name__} has no stage after={after!r} that can take a block. '
            f'These can: {names} any map that it gives out'
        )


def stage_channels(network: nn.Module) -> dict[str, int]:
    """Find the stages of a backbone that can take a block, and the channels of their outputs.

    A stage can where it is an ``nn.Sequential`` in no other one, run once in a pass, with one map (N, C, h, w)
    as output, of more than a single cell. Seen in a pass over an empty image, which changes nothing in the network.

    Returns:
        Output channels by the stage's name, in the order of the network.
    """
    stages: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        inside = any(name.startswith(f'{stage}.') for stage in stages)
        if name and not inside and type(module).forward is nn.Sequential.forward:
            stages[name] = module

    outputs = outputs_of(network, stages)
    return {name: seen[0].shape[1] for name, seen in outputs.items() if len(seen) == 1 and _is_map(seen[0])}


def _is_map(output: object) -> bool:
    return isinstance(output, Tensor) and output.dim() == 4 and output[0, 0].numel() > 1


def _insert(network: nn.Module, after: str, block: nn.Module, keep_trainable: bool) -> None:
    stage = network.get_submodule(after)
    if 'sr' in stage._modules:
        raise ValueError(f'sr: two blocks after {after!r}; give each stage one, with more memories')
    if keep_trainable:
        network.register_forward_pre_hook(partial(_keep_trainable, after=after))
    put_after(stage, 'sr', block, frozen_with_it=not keep_trainable)


def _keep_trainable(network: nn.Module, args: object, after: str) -> None:
    """Before each training pass, for ``network.train()`` freezes its frozen stages anew, with all that is in them."""
    block = network.get_submodule(after)._modules.get('sr')  # None where somebody has taken it out
    if network.training and block is not None:
        block.requires_grad_(True)
