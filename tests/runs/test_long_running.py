"""A process that trains, tests and predicts for long keeps nothing of what is done."""

import gc
from collections.abc import Iterator
from pathlib import Path

import census
import numpy as np
import pytest
from mmseg.apis import MMSegInferencer
from tiny_config import write_config
from yapf.yapflib import yapf_api

from mmseg_sr.config import load_config, prepare
from mmseg_sr.runs import launch

CYCLES = 12


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
    return write_config(home, f'cycles{cycles}.py', census.CHANGES.format(cycles=cycles, interval=2))


def hooks_of(runner) -> int:
    """Functions that are called in passes of a model and in steps of its optimizer."""
    kinds = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_optimizer_step_pre_hooks')
    parts = [*runner.model.modules(), runner.optim_wrapper.optimizer]
    return sum(len(getattr(part, kind, ())) for part in parts for kind in kinds)


def test_a_training_keeps_nothing_of_its_cycles(home, monkeypatch):
    seen = []
    monkeypatch.setattr(census.CycleHook, 'look', lambda: seen.append(census.census()))
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
        seen.append(census.census())
    assert seen[0] == seen[1] == seen[2]


def test_requests_leave_nothing(home):
    inferencer = MMSegInferencer(prepare(load_config(config_of(home, 1))), device='cpu', show_progress=False)
    seen = []
    for number in range(24):
        image = np.random.default_rng(number).integers(0, 256, (64 - number, 64, 3), dtype=np.uint8)
        assert inferencer(image)['predictions'].shape == image.shape[:2]
        if number % 8 == 7:
            seen.append(census.census())
    assert seen[0]['tensors'] >= len(list(inferencer.model.parameters())) and seen[0]['SRBlock'] == 1
    assert seen[0] == seen[1] == seen[2]
