"""Put SR blocks on the maps between a backbone and its head, for backbones without ``nn.Sequential`` stages."""

from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleDict
from mmengine.registry import MODELS as ROOT_MODELS
from mmseg.registry import MODELS
from torch import Tensor

from .checks import block_options, build_block, check_config, check_init_cfg, positive


@MODELS.register_module()
@ROOT_MODELS.register_module()
class SRNeck(BaseModule):
    """Put an SR block on one of the backbone's output maps, or on several, before an optional stock neck.

    Unlike in :class:`SRBackbone`, later stages of the backbone do not see the block; the heads do. A checkpoint
    of the stock model loads with only ``neck.sr.*`` missing, also where ``neck`` is used.

    Args:
        in_channels: Channels of every map the backbone gives out.
        sr: ``in_index`` (which of those maps, counted as a head's ``in_index``) and the options of
            :class:`SRBlock` but for ``in_channels``; several blocks as a list. ``type`` may name another block.
        neck: Config of a stock neck to run after the blocks.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: For an ``in_index`` that is missing, out of range or used twice, and for options that are wrong; in
            ``forward`` for other maps than ``in_channels`` lists.

    Example:
        >>> import torch
        >>> neck = SRNeck(in_channels=[4, 8], sr=dict(in_index=1, memory_size=(2, 2)))
        >>> maps = (torch.randn(1, 4, 4, 4), torch.randn(1, 8, 2, 2))
        >>> [tuple(each.shape) for each in neck(maps)]
        [(1, 4, 4, 4), (1, 8, 2, 2)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        sr: dict | list[dict],
        neck: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        if not isinstance(in_channels, (list, tuple)) or not in_channels:
            raise ValueError(f'in_channels must list the channels of all maps of the backbone, got {in_channels!r}')
        for channels in in_channels:
            positive(channels, 'each of in_channels')
        if neck is not None:
            check_config('neck', neck)
        self.in_channels = list(in_channels)
        self.sr = ModuleDict()
        for options in block_options(sr):
            index = options.pop('in_index', None)
            if type(index) is not int or index not in range(len(in_channels)):
                raise ValueError(f'sr: in_index must be in 0 .. {len(in_channels) - 1}, got {index!r}')
            if str(index) in self.sr:
                raise ValueError(f'sr: two blocks with in_index={index}; give each map one, with more memories')
            self.sr[str(index)] = build_block(options, in_channels[index])
        self.neck = MODELS.build(neck) if neck is not None else None

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn the backbone's maps [(N, C_i, h_i, w_i), ...] into as many, or into what the stock neck makes."""
        maps = list(inputs)
        given = [_channels(each) for each in maps]
        if given != self.in_channels:
            raise ValueError(f'SRNeck: in_channels={self.in_channels}, and the backbone gives out {given}')
        for index, block in self.sr.items():
            maps[int(index)] = block(maps[int(index)])
        return tuple(maps) if self.neck is None else self.neck(maps)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        """Give the keys of a stock neck's checkpoint ('neck.*') the place they have here ('neck.neck.*')."""
        own = (f'{prefix}sr.', f'{prefix}neck.')
        for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(own)]:
            if self.neck is not None:
                state_dict[f'{prefix}neck.{key[len(prefix) :]}'] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _channels(output: object) -> int | str:
    """Channels of a map; of what is none, what it is: some backbones pair a map with a class token."""
    return output.shape[1] if isinstance(output, Tensor) and output.dim() == 4 else type(output).__name__
