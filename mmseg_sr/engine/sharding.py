"""Weights, gradients and momentum in shares: one network over several processes, by PyTorch's FSDP.

    runner_type = 'FlexibleRunner'
    strategy = dict(type='FSDPStrategy')

in a config are mmengine's own words for it; ``model_wrapper=dict(type='MMFullyShardedDataParallel', ...)`` in the
strategy says how to share. Here they mean :class:`ShardedStrategy`.
"""

from pathlib import Path

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import STRATEGIES
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, OptimStateKeyType

from ..errors import UserError
from .saving import writing

FLEXIBLE = 'FlexibleRunner'


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """mmengine's FSDPStrategy, with checkpoints as those of one process, on GPUs and on CPUs.

    Every checkpoint is one file with the whole network, whole or not there at all, and any number of processes goes on
    from it, with or without sharding. mmengine's own cannot resume with torch 2.1 or newer, and needs a GPU.

    Args:
        state_dict_cfg: 'full', the only kind of checkpoint that these are.
        **kwargs: Those of FSDPStrategy.

    Raises:
        ValueError: For another ``state_dict_cfg``.
    """

    def __init__(self, *, state_dict_cfg: str = 'full', **kwargs):
        if state_dict_cfg != 'full':
            raise ValueError(f"state_dict_cfg must be 'full': checkpoints are one file here, got {state_dict_cfg!r}")
        super().__init__(state_dict_cfg=state_dict_cfg, **kwargs)
        if get_device() == 'cpu':
            # What FSDP would free after the "copy to the CPU" is the network itself.
            self.state_dict_config.offload_to_cpu = self.optim_state_dict_config.offload_to_cpu = False

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if get_device() == 'cpu':
            wrapper = self.model_wrapper or dict(type='MMFullyShardedDataParallel')
            self.model_wrapper = {'device_id': torch.device('cpu'), **wrapper}
        return super()._wrap_model(model)

    def save_checkpoint(self, filename: str, **kwargs) -> None:
        """Save the whole network; every process has to call it, with the share that it holds."""
        if not is_main_process():
            super().save_checkpoint(filename, **kwargs)
            return
        with writing(Path(filename)) as partial:
            super().save_checkpoint(str(partial), **kwargs)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Take this process's share of an optimizer's state, saved with or without sharding."""
        if any(isinstance(key, int) for key in state_dict['state']):
            names = OptimStateKeyType.PARAM_NAME
            state_dict = FullyShardedDataParallel.rekey_optim_state_dict(state_dict, names, self.model)
        optimizer = self.optim_wrapper.optimizer
        share = FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict)
        self.optim_wrapper.load_state_dict(share)


def is_sharded(model: nn.Module) -> bool:
    """Whether this process holds a share of the network only."""
    return isinstance(model, FullyShardedDataParallel)


def fit_strategy(cfg: Config) -> None:
    """Let a config that asks for FSDP mean :class:`ShardedStrategy`, or in one process mmengine's Runner, in place.

    Raises:
        UserError: Where it asks for FlexibleRunner with another strategy.
    """
    if cfg.get('runner_type') != FLEXIBLE:
        return
    kind = (cfg.get('strategy') or {}).get('type')
    if getattr(kind, '__name__', kind) not in ('FSDPStrategy', 'ShardedStrategy'):
        raise UserError(
            f"runner_type='{FLEXIBLE}' works here with strategy=dict(type='FSDPStrategy') only, and the config has "
            f'{kind}. For several processes without sharding leave both out'
        )
    if cfg.get('launcher', 'none') == 'none':
        print_log('In one process there is nothing to shard: FSDPStrategy is left out.', logger='current')
        cfg.pop('runner_type')
        cfg.pop('strategy')
    else:
        cfg.strategy.type = 'ShardedStrategy'
