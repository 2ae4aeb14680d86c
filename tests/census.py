"""What is alive in this process, for tests that let it do the same again and again."""

import gc
from collections import Counter

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

CHANGES = """
custom_imports = dict(imports=['mmseg_sr', 'census'])
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'], sr=dict(after='layer3', memory_size=(4, 4), hidden_channels=4)
)
train_cfg.update(max_iters={cycles} * 2, val_interval=2)
default_hooks.update(
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval={interval}, max_keep_ckpts=1),
    exact_resume=dict(type='ExactResumeHook'),
    preemption=dict(type='PreemptionHook'),
)
custom_hooks = [dict(type='SRMonitorHook', interval=1), dict(type='CycleHook')]
"""
"""Change the tiny config to a training of many cycles: two iterations and an evaluation each."""


@HOOKS.register_module(force=True)
class CycleHook(Hook):
    """Call ``look`` after each cycle."""

    priority = 'LOWEST'

    @staticmethod
    def look() -> None:
        """Does nothing by itself."""

    def after_val(self, runner) -> None:
        CycleHook.look()


def census() -> Counter:
    """Count the tensors and the objects of mmseg_sr's classes that are alive."""
    gc.collect()
    found: Counter = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if issubclass(kind, torch.Tensor):
            found['tensors'] += 1
        elif str(kind.__module__).partition('.')[0] == 'mmseg_sr':
            found[kind.__qualname__] += 1
    return found
