"""ChannelsLastHook: maps lie in memory pixel by pixel, which convolutions of some networks compute faster."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Run the network in PyTorch's channels_last memory format, in trainings and in tests.

    In a config: ``custom_hooks = [dict(type='ChannelsLastHook')]``. Weights, checkpoints and results are the same but
    for rounding. Whether it is faster depends on network and machine: ``benchmarks/training_step.py`` measures it.
    """

    def before_train(self, runner: Runner) -> None:
        """Lay the weights anew; the maps follow them. Not before: random numbers are drawn in the order of a layout."""
        runner.model.to(memory_format=torch.channels_last)

    before_test = before_train
