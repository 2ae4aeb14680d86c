"""A memory of another size is moved by every way into a network, with one warning; another C, P or U is an error."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import ROOT, command
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import MMSegInferencer, init_model
from tiny_config import write_config
from trained_block import trained

from mmseg_sr import SRBlock
from mmseg_sr.config import load_config, prepare
from mmseg_sr.runs import launch
from mmseg_sr.runs.models import load_sr_model

pytestmark = pytest.mark.usefixtures('fresh')
OLD, NEW = (4, 4), (6, 3)
NAME = 'backbone.layer3.sr'
WARNING = 'it is resized to'


def sr(base_channels: int = 8, **options: object) -> str:
    """Source that puts a block into the tiny config."""
    options = {'memory_size': NEW, 'num_memories': 3, 'hidden_channels': 4, **options}
    return (
        f"model['backbone'].update(base_channels={base_channels})\n"
        f"sr = dict(after='layer3', **{options})\n"
        "model['backbone'] = dict(type='SRBackbone', backbone=model['backbone'], sr=sr)\n"
    )


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('a home')


@pytest.fixture(scope='module')
def old(home) -> Path:
    """A checkpoint to resume from, of a network with a small memory that changes its predictions."""
    extra = "optim_wrapper['optimizer'].update(lr=0.01)\ntrain_cfg.update(max_iters=2, val_interval=9)\n"
    extra += "default_hooks['checkpoint']['interval'] = 2\n"
    launch.train(load_config(write_config(home, 'old.py', sr(memory_size=OLD) + extra)))
    path = home / 'work/old/iter_2.pth'
    checkpoint = torch.load(path, weights_only=False)
    generator = torch.Generator().manual_seed(0)
    for name, weight in checkpoint['state_dict'].items():
        if NAME in name:
            weight.copy_(3 * torch.randn(weight.shape, generator=generator))
    torch.save(checkpoint, home / 'old.pth')
    return home / 'old.pth'


@pytest.fixture
def new(home) -> Path:
    return write_config(home, 'new.py', sr())


def config(path: Path, **keys: object) -> Config:
    return load_config(path, {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 9, **keys})


def bilinear(length: int, new_length: int) -> np.ndarray:
    """The matrix that resizes a row of ``length`` cells, pixel centres aligned, as a loop over its new cells."""
    matrix = np.zeros((new_length, length))
    for index in range(new_length):
        place = max((index + 0.5) * length / new_length - 0.5, 0)
        left = int(place)
        matrix[index, left] += 1 - (place - left)
        matrix[index, min(left + 1, length - 1)] += place - left
    return matrix


def resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (bilinear(*lengths) for lengths in zip(maps.shape[-2:], size, strict=True))
    return rows @ maps @ columns.T


def old_output(checkpoint: Path, x: np.ndarray) -> np.ndarray:
    """What the block of a checkpoint makes of x (N, C, h, w): its recalled memory, resized, added."""
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    names = ('squeeze.weight', 'squeeze.bias', 'gate.0.weight', 'gate.0.bias', 'gate.1.weight', 'gate.1.bias', 'memory')
    kernel, offset, first, bias, second, shift, memory = (weights[f'{NAME}.{name}'].double().numpy() for name in names)
    squeezed = np.einsum('c,nchw->nhw', kernel[0, :, 0, 0], x) + offset
    scores = (resized(squeezed, OLD).reshape(len(x), -1) @ first.T + bias) @ second.T + shift
    recall = np.exp(scores - scores.max(1, keepdims=True))
    recall /= recall.sum(1, keepdims=True)
    return x + resized(np.einsum('np,pchw->nchw', recall, memory), x.shape[-2:])


def assert_moved(model: torch.nn.Module, checkpoint: Path) -> None:
    """The block of a model computes at its own size what the checkpoint's computes there."""
    block = copy.deepcopy(model.get_submodule(NAME)).double()
    assert block.memory_size == NEW
    x = 0.05 * np.random.default_rng(0).normal(size=(2, 32, *NEW))  # small: larger scores saturate the softmax
    with torch.no_grad():
        np.testing.assert_allclose(block(torch.from_numpy(x)), old_output(checkpoint, x), rtol=1e-5, atol=1e-5)


def move(checkpoint: Path, place: Path) -> None:
    """Write a checkpoint whose memory is moved by the reference."""
    document = torch.load(checkpoint, weights_only=False)
    weights = document['state_dict']
    memory, columns = f'{NAME}.memory', f'{NAME}.gate.0.weight'
    weights[memory] = torch.from_numpy(resized(weights[memory].double().numpy(), NEW)).float()
    back = np.kron(*(bilinear(*lengths) for lengths in zip(NEW, OLD, strict=True)))
    weights[columns] = torch.from_numpy(weights[columns].double().numpy() @ back).float()
    torch.save(document, place)


def runner_loads(path: Path, checkpoint: Path) -> torch.nn.Module:
    runner = Runner.from_cfg(prepare(config(path, load_from=str(checkpoint))))
    runner.load_or_resume()
    return runner.model


def runner_resumes(path: Path, checkpoint: Path) -> torch.nn.Module:
    runner = Runner.from_cfg(prepare(config(path, load_from=str(checkpoint), resume=True)))
    runner.train()  # the last iteration is done
    return runner.model


def train_resumes(path: Path, checkpoint: Path) -> torch.nn.Module:
    return launch.train(config(path, load_from=str(checkpoint), resume=True)).model


def train_starts(path: Path, checkpoint: Path) -> torch.nn.Module:
    still = {'optim_wrapper.optimizer.lr': 0.0, 'train_cfg.max_iters': 1}
    return launch.train(config(path, load_from=str(checkpoint), **still)).model


def init_model_loads(path: Path, checkpoint: Path) -> torch.nn.Module:
    return init_model(str(path), str(checkpoint), device='cpu')


def inferencer_loads(path: Path, checkpoint: Path) -> torch.nn.Module:
    return MMSegInferencer(str(path), weights=str(checkpoint), device='cpu').model


def figures_load(path: Path, checkpoint: Path) -> torch.nn.Module:
    return load_sr_model(load_config(path), checkpoint)


WAYS = [runner_loads, runner_resumes, train_resumes, train_starts, init_model_loads, inferencer_loads, figures_load]


@pytest.mark.parametrize('way', WAYS, ids=lambda way: way.__name__)
def test_a_memory_of_another_size_is_moved_with_one_warning(way, new, old, capfd):
    model = way(new, old)
    said = ''.join(capfd.readouterr())
    line = rf'WARNING - {re.escape(f"{NAME}: the memory of the checkpoint is {OLD}, {WARNING} {NEW}")}'
    assert said.count(WARNING) == 1 and re.search(line, said)
    assert_moved(model, old)


@pytest.mark.parametrize('way', WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(num_memories=2), 'num_memories=2 in the config, the checkpoint has 3: set num_memories=3'),
        (dict(hidden_channels=7), 'hidden_channels=7 in the config, the checkpoint has 4: set hidden_channels=4'),
        (dict(base_channels=16), 'in_channels=64 in the config, the checkpoint has 32: take the backbone'),
    ],
    ids=['P', 'U', 'C'],
)
def test_another_c_p_or_u_is_an_error_that_says_what_to_set(way, options, words, home, old):
    path = write_config(home, 'wrong.py', sr(**options))
    with pytest.raises(ValueError, match=words):
        way(path, old)


@pytest.mark.parametrize('mode', [[], ['--tta']], ids=['one scale', 'tta'])
def test_a_moved_checkpoint_is_tested_with_one_warning(mode, new, old, call, tmp_path):
    status, *said = call('test', new, old, *mode, '--metrics', tmp_path / 'metrics.json')
    assert status == 0 and ''.join(said).count(WARNING) == 1
    metrics = json.loads((tmp_path / 'metrics.json').read_text())['metrics']
    move(old, tmp_path / 'moved.pth')
    reference = launch.test(load_config(new), tmp_path / 'moved.pth', tta=bool(mode))
    without = launch.test(load_config(new), old, tta=bool(mode), without_sr=True)
    assert metrics['mIoU'] == pytest.approx(reference['mIoU'], abs=0.01)
    assert abs(metrics['mIoU'] - without['mIoU']) > 0.1, 'a zero memory predicts something else'


def test_two_processes_warn_once(new, old, tmp_path):
    done = command(ROOT / 'tools/dist_test.sh', new, old, 2, '--tta', '--work-dir', tmp_path)
    assert done.status == 0, done.err
    assert (done.out + done.err).count(WARNING) == 1


@pytest.mark.parametrize('tool', ['test', 'train --resume', 'train load_from'])
def test_a_tool_refuses_another_p_in_one_line(tool, home, old, call, tmp_path):
    path = write_config(home, 'wrong.py', sr(num_memories=2))
    words = {
        'test': ['test', path, old],
        'train --resume': ['train', path, '--resume', old],
        'train load_from': ['train', path, '--cfg-options', f'load_from={old}'],
    }
    assert 'set num_memories=3' in call(*words[tool], '--work-dir', tmp_path / 'work').mistake
    assert not (tmp_path / 'work').exists()


OPTIMIZERS = [
    dict(type='SGD', lr=0.01, momentum=0.9),
    dict(type='Adam', lr=0.01, amsgrad=True),
    dict(type='AdamW', lr=0.01, foreach=False),
]


@pytest.mark.parametrize('optimizer', OPTIMIZERS, ids=lambda optimizer: optimizer['type'])
def test_a_resumed_training_goes_on_with_another_memory_size(optimizer, home, call, tmp_path):
    extra = f"optim_wrapper['optimizer'] = {optimizer}\ndefault_hooks['checkpoint']['interval'] = 2\n"
    paths = [write_config(home, f'{name}.py', sr(memory_size=size) + extra) for name, size in (('a', OLD), ('b', NEW))]
    limit, place = 'train_cfg.max_iters={}', tmp_path / 'work'
    assert call('train', paths[0], '--work-dir', place, '--cfg-options', limit.format(2))[0] == 0
    status, *said = call('train', paths[1], '--work-dir', place, '--resume', '--cfg-options', limit.format(4))
    assert status == 0 and ''.join(said).count(WARNING) == 1 and 'momentum starts anew' in ''.join(said), said
    checkpoint = torch.load(place / 'iter_4.pth', weights_only=False)
    assert checkpoint['state_dict'][f'{NAME}.memory'].shape == (3, 32, *NEW)
    shapes = {tuple(buffer.shape) for state in checkpoint['optimizer']['state'].values() for buffer in state.values()}
    assert (3, 32, *NEW) in shapes and (4, 18) in shapes
    assert (3, 32, *OLD) not in shapes and (4, 16) not in shapes


@pytest.mark.parametrize('rank', [None, 2])
@pytest.mark.parametrize('model_first', [True, False], ids=['model, optimizer', 'optimizer, model'])
def test_the_optimizer_forgets_what_was_moved_and_nothing_else(model_first, rank):
    def network(size: tuple[int, int]) -> tuple[SRBlock, torch.optim.Optimizer]:
        block = trained(4, size, memory_rank=rank, scale=0.1)
        return block, torch.optim.SGD(block.parameters(), lr=0.1, momentum=0.5)

    def step(block: SRBlock, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
        optimizer.zero_grad()
        block(torch.randn(3, 4, *block.memory_size)).square().mean().backward()
        optimizer.step()
        return {name: optimizer.state[each]['momentum_buffer'].clone() for name, each in block.named_parameters()}

    first, second = network((4, 4)), network((2, 6))
    before = [step(*first) for _ in range(3)][-1]
    pairs = list(zip(second, first, strict=True))
    for target, source in pairs if model_first else reversed(pairs):
        target.load_state_dict(copy.deepcopy(source.state_dict()))
    for moved in (('gate.0.weight', 'memory.maps' if rank else 'memory'), ()):  # it forgets once
        after = step(*second)
        for name, parameter in second[0].named_parameters():
            kept = 0 if name in moved else 0.5 * before[name]
            torch.testing.assert_close(after[name], kept + parameter.grad)
        before = after
