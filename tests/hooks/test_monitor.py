"""SRMonitorHook in real runs of the Runner: what it logs is right, reaches every backend and disturbs nothing."""

import functools
import importlib
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmseg_sr import SRBlock
from mmseg_sr.hooks.monitor import SRMonitorHook
from mmseg_sr.memory import stats

KEYS = {'memory_norm', 'shift_percent', 'entropy', 'blocks_in_use', 'memory_gradient', 'gate_gradient'}


class Maps(Dataset):
    """Random maps (3, 4, 6), the same every time."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(index)))


class Model(BaseModel):
    """A convolution, an SR block and a loss. It notes what the block does in each pass, by other means."""

    def __init__(self, block: nn.Module | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 5, 1)
        self.sr = SRBlock(5, memory_size=(4, 6), num_memories=3) if block is None else block

        self.noted, self.hooked = [], []

    def forward(self, inputs: torch.Tensor, mode: str = 'tensor') -> dict:
        x = self.stem(inputs)
        self.hooked.append(handles(self))
        y = self.sr(x)
        self.note(x.detach().float(), y.detach().float())
        return {'loss': (y.float() - 1).square().mean()}

    @torch.no_grad()
    def note(self, x: torch.Tensor, y: torch.Tensor) -> None:
        block = self.sr
        squeezed = torch.einsum('nchw,c->nhw', x, block.squeeze.weight[0, :, 0, 0]) + block.squeeze.bias
        hidden = squeezed.flatten(1) @ block.gate[0].weight.T + block.gate[0].bias
        weights = (hidden @ block.gate[1].weight.T + block.gate[1].bias).softmax(1)
        shift = (y - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        self.noted.append((weights.double().numpy(), 100 * shift.mean().item()))


class Recorder(OptimWrapper):
    """Notes at each step the gradients that were used, and the parameters after it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gradients, self.parameters = [], []

    def step(self, **kwargs) -> None:
        super().step(**kwargs)  # clips
        parameters = self.optimizer.param_groups[0]['params']
        self.gradients.append({each: each.grad.clone() for each in parameters if each.grad is not None})
        self.parameters.append({each: each.detach().clone() for each in parameters})


@pytest.fixture(autouse=True)
def empty(fresh, monkeypatch, tmp_path) -> None:
    """Each run is the first one, in an empty folder."""
    monkeypatch.chdir(tmp_path)


def train(model: nn.Module, hook: dict | None, iterations: int = 6, wrapper: OptimWrapper | None = None, **options):
    """Train, and return the runner."""
    torch.manual_seed(0)
    runner = Runner(
        model=model,
        work_dir='work',
        train_dataloader=dict(
            batch_size=2,
            dataset=Maps(),
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations),
        optim_wrapper=wrapper or Recorder(torch.optim.SGD(model.parameters(), lr=0.5)),
        custom_hooks=[dict(type='SRMonitorHook', **hook)] if hook is not None else [],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=0),
        **options,
    )
    runner.train()
    return runner


def scalars(runner: Runner) -> dict[str, list[float]]:
    found = {key: buffer.data[0] for key, buffer in runner.message_hub.log_scalars.items() if '/sr/' in key}
    return {key.removeprefix('train/sr/'): values.tolist() for key, values in found.items()}


def log(runner: Runner) -> str:
    return Path(runner.log_dir, f'{runner.timestamp}.log').read_text()


def norm(tensors) -> float:
    return torch.cat([tensor.flatten() for tensor in tensors]).norm().item()


def handles(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def check_gradients(logged: dict, model: Model, gradients: list[dict], rtol: float = 1e-5) -> None:
    memory = [norm([each[model.sr.memory]]) for each in gradients]
    gate = [norm([each[parameter] for parameter in model.sr.gate.parameters()]) for each in gradients]
    assert all(value > 0 for value in memory)
    np.testing.assert_allclose(logged['sr/memory_gradient'], memory, rtol=rtol)
    np.testing.assert_allclose(logged['sr/gate_gradient'], gate, rtol=rtol, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------ numbers


def test_logs_the_right_numbers_every_interval():
    model = Model()
    wrapper = Recorder(torch.optim.SGD(model.parameters(), lr=0.5))
    logged = scalars(train(model, dict(interval=2), 7, wrapper))
    assert logged.keys() == {f'sr/{key}' for key in KEYS}
    sampled = (1, 3, 5)
    weights, shifts = zip(*(model.noted[index] for index in sampled), strict=True)
    memories = [norm([wrapper.parameters[index][model.sr.memory]]) for index in sampled]
    np.testing.assert_allclose(logged['sr/memory_norm'], memories, rtol=1e-5)
    np.testing.assert_allclose(logged['sr/shift_percent'], shifts, rtol=1e-4)
    np.testing.assert_allclose(logged['sr/entropy'], [stats.entropy(each).mean() for each in weights], rtol=1e-5)
    np.testing.assert_allclose(logged['sr/blocks_in_use'], [stats.usage(each).in_use for each in weights], rtol=1e-5)
    check_gradients(logged, model, [wrapper.gradients[index] for index in sampled])


@pytest.mark.parametrize('interval', [2, 3])
def test_gradients_are_those_of_the_step(interval):
    """With accumulation over two iterations and clipping; sampled in iterations with a step, and without."""
    model = Model()
    clip = dict(max_norm=1e-3)
    wrapper = Recorder(torch.optim.SGD(model.parameters(), lr=0.5), accumulative_counts=2, clip_grad=clip)
    logged = scalars(train(model, dict(interval=interval), 8, wrapper))
    assert len(wrapper.gradients) == 4
    steps = {2: (0, 1, 2, 3), 3: (1, 2)}[interval]  # iterations 2, 4, 6, 8; of 3 and 6 the step is in 4 and 6
    check_gradients(logged, model, [wrapper.gradients[index] for index in steps])
    assert len(logged['sr/entropy']) == 8 // interval


def test_mixed_precision_reports_unscaled_gradients(monkeypatch):
    amp = importlib.import_module('mmengine.optim.optimizer.amp_optimizer_wrapper')
    monkeypatch.setattr(amp, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp, 'GradScaler', functools.partial(torch.amp.GradScaler, 'cpu'))

    class Wrapper(Recorder, amp.AmpOptimWrapper):
        pass

    model = Model()
    wrapper = Wrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.5), dtype='bfloat16', loss_scale=1024.0)
    logged = scalars(train(model, dict(interval=2), 4, wrapper))
    assert wrapper.loss_scaler.get_scale() == 1024
    check_gradients(logged, model, [wrapper.gradients[index] for index in (1, 3)])
    assert logged['sr/memory_norm'][-1] > 0


def test_a_fused_optimizer_is_given_scaled_gradients():
    hook, model = SRMonitorHook(), Model()
    hook._blocks = {'sr': model.sr}
    model.sr.memory.grad = torch.full_like(model.sr.memory, 8.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.grad_scale = torch.tensor(8.0)
    hook._see_gradients(optimizer, (), {})
    assert hook._gradients == {'sr/memory_gradient': pytest.approx(model.sr.memory.numel() ** 0.5)}


def test_frozen_parts_have_no_gradient():
    model = Model()
    model.sr.memory.requires_grad_(False)
    assert scalars(train(model, dict(interval=2))).keys() == {f'sr/{key}' for key in KEYS - {'memory_gradient'}}
    for parameter in model.sr.parameters():
        parameter.requires_grad_(False)
    logged = scalars(train(model, dict(interval=2), experiment_name='frozen'))
    assert logged.keys() == {f'sr/{key}' for key in KEYS - {'memory_gradient', 'gate_gradient'}}


def test_disturbs_nothing():
    plain, monitored = Model(), Model()
    train(plain, None)
    train(monitored, dict(interval=4), 6, experiment_name='monitored')
    for parameter, other in zip(plain.parameters(), monitored.parameters(), strict=True):
        assert torch.equal(parameter, other)
    assert [count > 0 for count in monitored.hooked] == [False, False, False, True, False, False]


def test_training_that_ends_early_leaves_no_hook():
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    runner = SimpleNamespace(model=model, iter=0, optim_wrapper=OptimWrapper(optimizer))
    hook = SRMonitorHook(interval=1)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert handles(model) == 2 and len(optimizer._optimizer_step_pre_hooks) == 1
    hook.after_train(runner)
    assert handles(model) == 0 and not optimizer._optimizer_step_pre_hooks


def test_wrapped_model(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        model = Model()
        wrapper = Recorder(torch.optim.SGD(model.parameters(), lr=0.5))
        ddp = dict(type='MMDistributedDataParallel', device_ids=None)
        runner = train(model, dict(interval=2), 4, wrapper, launcher='none', cfg=dict(model_wrapper_cfg=ddp))
        wrapped = runner.wrap_model(ddp, model)
        hook = SRMonitorHook(interval=1)
        runner.model = wrapped
        hook.before_train(runner)
        assert list(hook._blocks) == ['sr']
        hook.before_train_iter(runner, 0)
        wrapped.train_step(dict(inputs=torch.stack([Maps()[index]['inputs'] for index in (0, 1)])), wrapper)
        hook.after_train_iter(runner, 0)
    finally:
        torch.distributed.destroy_process_group()
    logged = scalars(runner)
    assert logged.keys() == {f'sr/{key}' for key in KEYS} and len(logged['sr/entropy']) == 3
    check_gradients({key: values[-1:] for key, values in logged.items()}, model, wrapper.gradients[-1:])


@pytest.mark.parametrize('name', ['interval', 'patience'])
@pytest.mark.parametrize('value', [0, -1, 2.5, True])
def test_wrong_options(name, value):
    with pytest.raises(ValueError, match=f'{name} must be a positive integer, got {value}'):
        SRMonitorHook(**{name: value})


# ----------------------------------------------------------------------------------------------------------- warnings


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if 'WARNING' in line and ('sr: ' in line or 'SRMonitor' in line)]


def test_warns_once_of_a_memory_that_stays_zero():
    model = Model()
    model.sr.memory.requires_grad_(False)
    train(model, dict(interval=1, patience=3), 6)
    train(model, dict(interval=1, patience=7), 6, experiment_name='short')
    train(Model(), dict(interval=1, patience=3), 6, experiment_name='not zero')
    (line,) = warnings(''.join(path.read_text() for path in Path('work').glob('*/*.log')))
    assert 'sr: the memory is still zero after 3 iterations' in line


def test_warns_once_of_one_block_that_takes_all():
    model = Model()
    with torch.no_grad():
        model.sr.gate[1].bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    runner = train(model, dict(interval=1, patience=2), 5)
    (line,) = warnings(log(runner))
    assert 'sr: memory block 1 has a weight of 1.0000' in line


def test_a_block_with_one_memory_is_not_warned_of():
    model = Model(SRBlock(5, memory_size=(4, 6), num_memories=1))
    runner = train(model, dict(interval=1, patience=2), 5)
    assert not warnings(log(runner))
    assert scalars(runner)['sr/entropy'] == [0.0] * 5


def test_a_model_without_a_block_trains_with_one_warning():
    class Stem(Model):
        def note(self, *args) -> None:
            pass

    runner = train(Stem(nn.Identity()), dict(interval=1), 3)
    (line,) = warnings(log(runner))
    assert 'no SR block' in line and scalars(runner) == {}


# ----------------------------------------------------------------------------------------------------------- backends


def test_reaches_log_line_and_scalars_file():
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    runner = train(Model(), dict(interval=2), visualizer=visualizer)
    (line,) = [each for each in log(runner).splitlines() if '[6/6]' in each]
    rows = [json.loads(row) for row in Path(runner.log_dir, 'vis_data/scalars.json').read_text().splitlines()]
    for key, values in scalars(runner).items():
        assert f'sr/{key}: {values[-1]:.4f}' in line
        assert [row[f'sr/{key}'] for row in rows if row['step'] in (2, 4, 6)] == pytest.approx(values)


def test_reaches_tensorboard():
    pytest.importorskip('tensorboard', reason='tensorboard is not installed')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    visualizer = dict(type='Visualizer', vis_backends=[dict(type='TensorboardVisBackend')])
    runner = train(Model(), dict(interval=2), visualizer=visualizer)
    events = EventAccumulator(str(Path(runner.log_dir, 'vis_data')))
    events.Reload()
    for key, values in scalars(runner).items():
        written = {event.step: event.value for event in events.Scalars(f'sr/{key}')}
        assert [written[step] for step in (2, 4, 6)] == pytest.approx(values)


def test_reaches_wandb_offline(monkeypatch):
    wandb = pytest.importorskip('wandb', reason='wandb is not installed')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    backend = dict(type='WandbVisBackend', init_kwargs=dict(project='test'))
    runner = train(Model(), dict(interval=2), visualizer=dict(type='Visualizer', vis_backends=[backend]))
    (file,) = Path(runner.log_dir).rglob('offline-run-*/*.wandb')
    wanted = [
        re.escape(f'sr/{key}').encode() + rb'.{1,4}' + repr(value).encode()
        for key, values in scalars(runner).items()
        for value in values
    ]
    assert wandb.run is None, 'mmengine has closed it'
    for _ in range(300):  # a process of wandb's own writes the file
        written = file.read_bytes()
        missing = [each for each in wanted if not re.search(each, written, re.DOTALL)]
        if not missing:
            break
        time.sleep(0.1)
    assert wanted and not missing
