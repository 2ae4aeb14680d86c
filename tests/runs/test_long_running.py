"""A process that trains, tests and predicts for long keeps nothing of what is done."""

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmseg.apis import MMSegInferencer
from tiny_config import SR, write_config
from yapf.yapflib import yapf_api

from mmseg_sr.config import load_config, prepare
from mmseg_sr.runs import launch

CYCLES = 12
# Change the tiny config to a training of many cycles: two iterations and an evaluation each.
CHANGES = """
train_cfg.update(max_iters={cycles} * 2, val_interval=2)
default_hooks.update(
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1),
    exact_resume=dict(type='ExactResumeHook'),
    preemption=dict(type='PreemptionHook'),
)
custom_hooks = [dict(type='SRMonitorHook', interval=1), dict(type='CycleHook')]
"""


@HOOKS.register_module()
class CycleHook(Hook):
    """Notes what is alive after each cycle."""

    priority = 'LOWEST'
    seen: list[Counter] = []

    def after_val(self, runner) -> None:
        self.seen.append(census())


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


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('home')


@pytest.fixture(autouse=True)
def quick(fresh, monkeypatch) -> None:
    """A checkpoint does not format its config, which takes longer than all else in so small a run."""
    monkeypatch.setattr(yapf_api, 'FormatCode', lambda text, **style: (text, False))


@pytest.fixture(autouse=True)
def new_only() -> Iterator[None]:
    """What was there before a test is not counted."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def config_of(home: Path, cycles: int) -> Path:
    return write_config(home, f'cycles{cycles}.py', SR + CHANGES.format(cycles=cycles))


def hooks_of(runner) -> int:
    """Functions that are called in passes of a model and in steps of its optimizer."""
    kinds = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_optimizer_step_pre_hooks')
    parts = [*runner.model.modules(), runner.optim_wrapper.optimizer]
    return sum(len(getattr(part, kind, ())) for part in parts for kind in kinds)


def test_a_training_keeps_nothing_of_its_cycles(home, monkeypatch):
    monkeypatch.setattr(CycleHook, 'seen', seen := [])
    runner = launch.train(load_config(config_of(home, CYCLES)))
    assert len(seen) == CYCLES and seen[0]['tensors'] > 100
    assert seen[0]['SRBlock'] == seen[0]['SRMonitorHook'] == 1, 'no second model'
    assert all(counts == seen[0] for counts in seen), seen
    assert hooks_of(runner) == 0


def test_runs_in_one_process_leave_nothing_of_ours(home):
    config, seen = config_of(home, 1), []
    for _ in range(3):
        launch.train(load_config(config))
        launch.test(load_config(config), home / 'work/cycles1/iter_2.pth')
        seen.append(census())
    assert seen[0] == seen[1] == seen[2]


def test_requests_leave_nothing(home):
    inferencer = MMSegInferencer(prepare(load_config(config_of(home, 1))), device='cpu', show_progress=False)
    seen = []
    for number in range(24):
        image = np.random.default_rng(number).integers(0, 256, (64 - number, 64, 3), dtype=np.uint8)
        assert inferencer(image)['predictions'].shape == image.shape[:2]
        if number % 8 == 7:
            seen.append(census())
    assert seen[0]['tensors'] >= len(list(inferencer.model.parameters())) and seen[0]['SRBlock'] == 1
    assert seen[0] == seen[1] == seen[2]
