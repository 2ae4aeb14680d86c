"""A run is the one of mmengine's Runner, to the bit. What it needs is built once, a tested checkpoint opened once."""

import builtins
import io
import os
import random
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import forget_runs
from killing import differences
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.models import EncoderDecoder
from mmseg.registry import DATASETS, TRANSFORMS
from tiny_config import SR, write_config

from mmseg_sr.checkpoints.publish import publish
from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.config import load_config, prepare, with_tta
from mmseg_sr.runs import launch

pytestmark = pytest.mark.usefixtures('fresh')
CUBLAS = 'CUBLAS_WORKSPACE_CONFIG'
SHORT = SR + "train_cfg.update(max_iters=2)\nmodel['decode_head']['dropout_ratio'] = 0.5\n"
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
EMA = "custom_hooks = [dict(type='EMAHook')]\n"


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with a finished training of moving averages, done/iter_4.pth."""
    home = tmp_path_factory.mktemp('home')
    forget_runs()
    launch.train(load_config(write_config(home, 'done.py', SR + EMA)))
    return home


def left(cfg: Config, seed: int) -> dict:
    """What a training left: its checkpoint without times, and the config that it wrote down."""
    checkpoint = torch.load(Path(cfg.work_dir, f'iter_{cfg.train_cfg.max_iters}.pth'), weights_only=False)
    meta = {key: checkpoint['meta'][key] for key in ('iter', 'cfg', 'dataset_meta')} | {'seed': seed}
    parts = ('state_dict', 'optimizer', 'ema_state_dict')
    tensors = {key: dict(checkpoint[key]) for key in parts if key in checkpoint}
    return {'written': Path(cfg.work_dir, Path(cfg.filename).name).read_text(), 'meta': meta, **tensors}


STARTS = {
    'from nothing': {},
    'deterministic': {'randomness.deterministic': True},
    'without a seed': {'randomness.seed': None},
    'from other weights': {'load_from': '{home}/work/done/iter_4.pth'},
    'with moving averages': {'custom_hooks': [dict(type='EMAHook')]},
    'resumed': {
        'load_from': '{home}/work/done/iter_4.pth', 'resume': True, 'randomness.seed': 5,
        'custom_hooks': [dict(type='EMAHook')], 'train_cfg.max_iters': 6,
    },
    'with draws where a dataset is built': {
        'train_dataloader.dataset.type': 'DrawnDataset', 'randomness.seed': 7,
    },
    'with a pipeline that changes, and one that cannot be copied': {
        'train_dataloader.dataset.pipeline': [*LOAD, dict(type='OwnNoise'), dict(type='PackSegInputs')],
        'val_dataloader.dataset.pipeline': [*LOAD, dict(type='Locked'), dict(type='PackSegInputs')],
    },
    'with a preprocessor of its own': {'data_preprocessor': dict(type='SegDataPreProcessor', size=(64, 64))},
}  # fmt: skip


@DATASETS.register_module(force=True)
class DrawnDataset(BaseSegDataset):
    """Three of the images, by chance."""

    def load_data_list(self) -> list[dict]:
        return random.sample(super().load_data_list(), 3)


@TRANSFORMS.register_module(force=True)
class OwnNoise:
    """Add noise by random numbers of its own, which go on from image to image."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def __call__(self, sample: dict) -> dict:
        noise = self.generator.integers(0, 30, sample['img'].shape, np.uint8)
        return {**sample, 'img': sample['img'] // 2 + noise}


@TRANSFORMS.register_module(force=True)
class Locked:
    """Hold a lock, as what reads from a data base does."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, sample: dict) -> dict:
        return sample


@pytest.mark.parametrize('start', STARTS)
def test_a_training_is_the_one_of_mmengines_runner(start, home, monkeypatch):
    monkeypatch.setenv(CUBLAS, '')
    monkeypatch.delenv(CUBLAS)
    config = write_config(home, 'short.py', SHORT)
    options = {
        key: value.format(home=home) if isinstance(value, str) else value for key, value in STARTS[start].items()
    }
    cfg = load_config(config, options)
    if 'data_preprocessor' in options:
        del cfg.model['data_preprocessor']
    runner = launch.train(cfg)
    assert (CUBLAS in os.environ) == (start == 'deterministic'), 'else torch refuses matrix products on a GPU'
    ours = left(cfg, runner.seed)
    if start == 'without a seed':  # the one that was drawn makes the same training
        cfg.randomness.seed = runner.seed
        assert cfg.randomness.seed != launch.train(load_config(config, options)).seed
        for text in (ours['meta'], ours):
            key = 'cfg' if 'cfg' in text else 'written'
            text[key] = text[key].replace('seed=None', f'seed={runner.seed}')
    forget_runs()
    theirs = Runner.from_cfg(prepare(cfg))
    theirs.train()
    assert differences(ours, left(cfg, theirs.seed)) == []
    torch.use_deterministic_algorithms(False)


@HOOKS.register_module(force=True)
class Told(Hook):
    """Note what the hooks are told of a checkpoint."""

    seen: list = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self.seen.append((runner.model is not None, checkpoint['meta']['iter'], len(checkpoint['state_dict'])))


@pytest.mark.parametrize('tta', [False, True], ids=['one scale', 'tta'])
@pytest.mark.parametrize('extra', ['', EMA], ids=['plain', 'moving averages'])
def test_a_test_is_the_one_of_mmengines_runner(extra, tta, home, capfd):
    checkpoint = home / 'work/done/iter_4.pth'
    cfg = load_config(write_config(home, 'tested.py', SR + extra + "test_evaluator = dict(type='ClassIoUMetric')\n"))
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='Told')]
    Told.seen = []
    ours = launch.test(cfg, checkpoint, tta=tta)
    assert f'Load checkpoint from {checkpoint}' in capfd.readouterr().out
    forget_runs()
    cfg = prepare(cfg)
    cfg.load_from = str(checkpoint)
    theirs = Runner.from_cfg(with_tta(cfg) if tta else cfg).test()
    assert {key: repr(value) for key, value in ours.items()} == {key: repr(value) for key, value in theirs.items()}
    assert len(Told.seen) == 2 and Told.seen[0] == Told.seen[1]


def test_one_network_is_built_and_each_dataset_once(home, monkeypatch):
    built = Counter()

    def count(kind: type) -> None:
        init = kind.__init__
        monkeypatch.setattr(kind, '__init__', lambda self, **options: built.update([kind]) or init(self, **options))

    count(EncoderDecoder)
    count(BaseSegDataset)
    config = write_config(home, 'short.py', SHORT)
    runs = [
        lambda: launch.train(load_config(config)),
        lambda: launch.train(load_config(config, {'load_from': f'{home}/work/short/iter_2.pth'})),
        lambda: launch.test(load_config(config), home / 'work/short/iter_2.pth'),
        lambda: launch.test(load_config(config), home / 'work/short/iter_2.pth', tta=True, without_sr=True),
    ]
    for run, datasets in zip(runs, (2, 2, 1, 1), strict=True):
        built.clear()
        run()
        assert built == {EncoderDecoder: 1, BaseSegDataset: datasets}


class Counting(io.FileIO):
    """A file that counts the bytes that are read of it."""

    count = 0

    def readinto(self, buffer) -> int:
        read = super().readinto(buffer)
        Counting.count += read
        return read

    def readall(self) -> bytes:
        content = super().readall()
        Counting.count += len(content)
        return content


@pytest.fixture
def opened_once(monkeypatch):
    """Take a file away as soon as it has been opened, and count what is read of it."""

    def prepare(path: Path) -> None:
        def opened(file, mode='r', *args, **kwargs):
            if str(file) != str(path):
                return plain(file, mode, *args, **kwargs)
            found = io.BufferedReader(Counting(file, 'rb'))
            path.unlink()
            return found

        plain, Counting.count = builtins.open, 0
        monkeypatch.setattr(builtins, 'open', opened)

    return prepare


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_tested_checkpoint_is_opened_once(ending, home, call, opened_once, tmp_path):
    trained = home / 'work/done/iter_4.pth'
    path = tmp_path / f'copy{ending}'
    path.write_bytes(Path(publish(trained, tmp_path, 'a')['.safetensors']['path']).read_bytes())
    if ending == '.pth':
        path.write_bytes(trained.read_bytes())
    opened_once(path)
    status, _, errors = call('test', home / 'done.py', path, '--work-dir', tmp_path / 'work')
    assert status == 0, errors
    assert not path.exists() and Counting.count > 0


def test_every_byte_of_a_checkpoint_is_read_once(home, opened_once, tmp_path):
    path = tmp_path / 'big.pth'
    checkpoint = read_checkpoint(home / 'work/done/iter_4.pth')
    checkpoint['state_dict'] = {f'{index}': torch.rand(1_000_000) for index in range(5)}
    torch.save(checkpoint, path)
    size = path.stat().st_size
    opened_once(path)
    read_checkpoint(path)
    assert size <= Counting.count < 1.15 * size
