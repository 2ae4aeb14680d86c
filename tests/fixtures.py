"""What all tests share: one thread (two collapse where the other core is busy), the places of real data."""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
if not os.environ.get('TEST_GPU'):  # the others compare bits, and start processes on CPUs
    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'

import in_process
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.utils import manager

import mmseg_sr  # noqa: F401  (before a test imports mmseg: it lets torchvision be imported)

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


def _place(variable: str, default: str) -> Path:
    place = Path(os.environ.get(variable, ROOT / default))
    if not place.exists():
        pytest.skip(f'{place} is not there: set {variable} to run this test on real data')
    return place


@pytest.fixture(autouse=True, scope='session')
def imported() -> None:
    """Leave what was imported out of garbage collections: mmengine makes a long one for each dataset."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def alone() -> None:
    """Every test draws the same random numbers, whatever ran before it, and logs to an output that is open."""
    torch.manual_seed(0)
    MMLogger._instance_dict.clear()
    manager._lock = threading.RLock()  # mmengine keeps it where making a logger or a visualizer fails


@pytest.fixture
def fresh() -> None:
    """Each run finds mmengine as a new process would: its loggers, else, write to the last test's closed stdout."""
    in_process.forget_runs()


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Call a tool's main in this process, in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return partial(in_process.call, folder=tmp_path)


@pytest.fixture(scope='session')
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope='session')
def camvid() -> Path:
    """CamVid with ``img_dir/{train,val}`` and ``ann_dir/{train,val}``."""
    return _place('CAMVID_ROOT', 'data/camvid')


@pytest.fixture(scope='session')
def idd_lite() -> Path:
    """IDD-Lite with ``img_dir/{train,val}`` and ``ann_dir/{train,val}``."""
    return _place('IDD_LITE_ROOT', 'data/idd_lite')


@pytest.fixture(scope='session')
def mobilenet_weights() -> Path:
    """MobileNetV2 trained on ImageNet, with mmseg's keys."""
    return _place('MOBILENET_V2_WEIGHTS', 'weights/mobilenet_v2_imagenet_fp16.pth')


@pytest.fixture
def no_hang() -> Iterator[Callable]:
    """End what takes minutes."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    yield lambda: signal.alarm(60)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
