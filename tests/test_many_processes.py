"""Several processes are one: same gradients, weights and metrics; one that dies is named, and the others go on."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import killing
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import STRATEGIES
from tiny_config import write_config, write_images

from mmseg_sr import SRMonitorHook
from mmseg_sr.engine import launch
from mmseg_sr.engine.config import load_config, prepare
from mmseg_sr.engine.processes import first_process_speaks, interface_to, process_group
from mmseg_sr.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 'backbone.layer3.sr.memory'
STEPS, DEATH, SAVED = 50, 15, 10  # of the whole training; where one process dies, and what was saved before
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='gloo is for machines without a GPU')

# mmseg's loss is a mean over all pixels, those to ignore too, and all images have one size: so the mean of the
# processes' means is that of the whole batch. No augmentation and no dropout: each process would draw its own.
CHANGES = """
custom_imports = dict(imports=['mmseg_sr', 'witness'])
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'], sr=dict(after='layer3', memory_size=(8, 8), hidden_channels=4)
)
train_dataloader['batch_size'] = 8
train_cfg.update(max_iters={steps}, val_interval={steps})
optim_wrapper['optimizer']['lr'] = 0.02
default_hooks.update(
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=1),
    exact_resume=dict(type='ExactResumeHook'),
    preemption=dict(type='PreemptionHook'),
)
custom_hooks = [dict(type='EachProcessHook', folder={folder!r}, gradients=(0, {saved}))]
"""
FSDP = """
runner_type = 'FlexibleRunner'
strategy = dict(type='FSDPStrategy')
custom_hooks[0].pop('gradients')
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with the config, and 11 images: neither two nor four processes have the same number of them."""
    home = tmp_path_factory.mktemp('home')
    write_images(home / 'data', count=11)
    changes = CHANGES.format(steps=STEPS, saved=SAVED, folder=str(home / 'seen'))
    write_config(home, extra=changes)
    write_config(home, 'sharded.py', changes + FSDP)
    return home


def start(*command: object, prefix: tuple = (), **environment: str) -> subprocess.Popen:
    """Start a tool as a user would."""
    paths = os.pathsep.join(filter(None, [str(ROOT / 'tests'), os.environ.get('PYTHONPATH')]))
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': paths, 'PATH': path, **environment}
    environment.pop('GLOO_SOCKET_IFNAME', None)
    words = [*prefix, *map(str, command)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Exit status and output; what hangs is ended, and is an error."""
    try:
        out, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.terminate()  # torch.distributed.run ends its processes then
        raise
    return process.returncode, out


def train(config: Path, processes: int, work: Path, *more: object, **environment: str) -> tuple[int, str]:
    script = ROOT / 'tools/dist_train.sh'
    return finish(start(script, config, processes, '--work-dir', work, *more, **environment))


def options(processes: int, **more: object) -> list[str]:
    """The same batch of eight images, over so many processes."""
    given = {'train_dataloader.batch_size': 8 // processes, **more}
    return ['--cfg-options', *(f'{key}={value}' for key, value in given.items())]


@pytest.fixture(scope='module')
def one(home) -> Path:
    """The work directory of a training in one process, with a checkpoint of each iteration."""
    arguments = [home / 'tiny.py', '--work-dir', home / 'one']
    assert killing.by_fork(arguments, None, home / 'one.log') == 0, (home / 'one.log').read_text()
    return home / 'one'


@pytest.fixture(scope='module')
def died(home) -> tuple[Path, int, str]:
    """The same in two processes, of which the second one dies: work directory, status and output."""
    death = {'custom_hooks.0.victim': 1, 'custom_hooks.0.death': DEATH, 'default_hooks.checkpoint.interval': SAVED}
    return home / 'many', *train(home / 'tiny.py', 2, home / 'many', *options(2, **death))


@pytest.fixture(scope='module')
def resumed(home, died) -> tuple[Path, str]:
    """That training resumed by four processes: work directory and output."""
    more = options(4, **{'default_hooks.checkpoint.interval': STEPS})
    status, out = train(home / 'tiny.py', 4, home / 'many', '--resume', *more)
    assert status == 0, out
    return home / 'many', out


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=False)['state_dict']


def distance(ours: dict, theirs: dict) -> float:
    """The largest difference between two sets of tensors, relative to the largest number in each tensor."""
    assert ours.keys() == theirs.keys() and len(ours) >= 80
    scales = {name: tensor.abs().max().double().clamp_min(1e-9) for name, tensor in theirs.items()}
    return max(float((ours[name].double() - theirs[name]).abs().max() / scale) for name, scale in scales.items())


# ------------------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize(('processes', 'iteration'), [(2, 0), (4, SAVED)])
def test_gradients_are_those_of_one_process_with_the_whole_batch(home, one, resumed, processes, iteration):
    expected = torch.load(home / f'seen/1-0-{iteration}.pth')
    for rank in range(processes):
        assert distance(torch.load(home / f'seen/{processes}-{rank}-{iteration}.pth'), expected) < 1e-5, rank


def test_weights_are_those_of_one_process_also_if_another_number_goes_on(one, resumed):
    work, out = resumed
    assert f'resumed epoch: 0, iter: {SAVED}' in out
    assert 'Not resumed bit for bit: processes was 2 and is 4' in out
    for iteration in (SAVED, STEPS):
        assert distance(weights(work / f'iter_{iteration}.pth'), weights(one / f'iter_{iteration}.pth')) < 1e-5
    moved = [float(weights(one / f'iter_{iteration}.pth')[MEMORY].abs().max()) for iteration in (1, STEPS)]
    assert moved[1] > 10 * moved[0] > 0


def test_all_processes_have_the_same_memory_after_the_training(home, resumed):
    seen = [torch.load(home / f'seen/4-{rank}-{STEPS}.pth') for rank in range(4)]
    assert seen[0][MEMORY].any()
    assert all(torch.equal(seen[0][name], other[name]) for other in seen[1:] for name in seen[0])


def test_four_processes_evaluate_as_one(home, resumed):
    work, _ = resumed
    rows = [json.loads(row) for path in work.glob('*/vis_data/scalars.json') for row in path.read_text().splitlines()]
    (found,) = [row for row in rows if 'mIoU' in row]
    expected = launch.test(load_config(home / 'tiny.py'), work / f'iter_{STEPS}.pth')
    assert {name: repr(found[name]) for name in expected} == {name: repr(value) for name, value in expected.items()}
    assert 0 < found['mIoU'] < 100


# -------------------------------------------------------------------------------------------------------------- deaths


def test_a_process_that_dies_ends_the_others_and_is_named(died):
    work, status, out = died
    assert status == 1
    cause = out.rpartition('Root Cause')[2]
    assert re.search(r'rank +: 1 \(local_rank: 1\)', cause) and 'Signal 9 (SIGKILL)' in cause, out
    assert 'Traceback (most recent call last):\n  File "<frozen' in out, 'of torch.distributed.run'
    assert out.count('Traceback') == 1, 'the one that is left says what happened in one line'
    log = min(work.glob('*/*.log'))  # those of other starts come later
    assert re.search('another process is gone.*Connection.*goes on from the last checkpoint', log.read_text())


def test_whoever_is_left_waits_for_the_launcher_to_speak(monkeypatch):
    waited = []

    def main():
        with process_group(Config(dict(launcher='pytorch'))):
            raise RuntimeError('[/src/gloo/gloo/transport/tcp/pair.cc:5] Read error [192.0.2.2]:7: Reset. GLHF!')

    monkeypatch.setenv('RANK', '0')
    monkeypatch.setattr('mmseg_sr.engine.processes._join', lambda timeout: None)
    monkeypatch.setattr('time.sleep', waited.append)
    words = r'another process is gone.*\(Read error \[192.0.2.2\]:7: Reset\): its launcher says'
    with pytest.raises(UserError, match=words):
        first_process_speaks(main, patience=7)()
    assert waited == [7]


def test_others_that_do_not_come_are_one_message(monkeypatch):
    place = {'RANK': 0, 'LOCAL_RANK': 0, 'LOCAL_WORLD_SIZE': 1, 'WORLD_SIZE': 2, 'MASTER_PORT': 0}
    for name, value in {**place, 'MASTER_ADDR': '127.0.0.1'}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv('GLOO_SOCKET_IFNAME', '')
    monkeypatch.delenv('GLOO_SOCKET_IFNAME')
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=1))))
    with pytest.raises(UserError, match='cannot join the other processes .* MASTER_ADDR and PORT must'):
        with process_group(cfg):
            pass
    assert os.environ['GLOO_SOCKET_IFNAME'] == interface_to('127.0.0.1')


# --------------------------------------------------------------------------------------------------------------- hosts


@pytest.fixture
def hosts() -> list[tuple]:
    """Two network namespaces with a cable between them: what runs a command on 192.0.2.1 and 192.0.2.2."""
    names = [f'sr-host-{os.getpid()}-{index}' for index in (1, 2)]
    commands = [f'netns add {name}' for name in names]
    commands += [f'link add cable1 netns {names[0]} type veth peer name cable2 netns {names[1]}']
    for index, name in enumerate(names, 1):
        commands += [f'-n {name} addr add 192.0.2.{index}/24 dev cable{index}']
        commands += [f'-n {name} link set {device} up' for device in ('lo', f'cable{index}')]
    with ExitStack() as stack:
        for command in commands:
            try:
                subprocess.run(['ip', *command.split()], check=True, capture_output=True, text=True)
            except (FileNotFoundError, subprocess.CalledProcessError) as error:
                pytest.skip(f'no network namespaces here: {getattr(error, "stderr", None) or error}')
            if command.startswith('netns add'):
                stack.callback(subprocess.run, ['ip', 'netns', 'del', command.split()[-1]], check=True)
        yield [('ip', 'netns', 'exec', name) for name in names]


def test_two_hosts_train_as_one_process(home, one, hosts):
    command = (ROOT / 'tools/dist_train.sh', home / 'tiny.py', 1, '--work-dir', home / 'hosts')
    command += (*options(2, **{'train_cfg.max_iters': 1}),)
    place = {'NNODES': '2', 'MASTER_ADDR': '192.0.2.1'}
    started = [start(*command, prefix=host, NODE_RANK=str(rank), **place) for rank, host in enumerate(hosts)]
    try:
        ended = [finish(process) for process in started]
    finally:
        for process in started:
            process.terminate()
    assert [status for status, _ in ended] == [0, 0], ended
    assert distance(weights(home / 'hosts/iter_1.pth'), weights(one / 'iter_1.pth')) < 1e-5


# ------------------------------------------------------------------------------------------------------------ sharding


def test_a_sharded_step_is_that_of_one_process_and_one_process_goes_on(home, one):
    config, work = home / 'sharded.py', home / 'sharded'
    one_step = ('--resume', one / 'iter_1.pth', *options(2, **{'train_cfg.max_iters': 2}))
    place = {'WORLD_SIZE': '2', 'LOCAL_WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': free_port()}
    arguments, log = [config, '--work-dir', work, '--launcher', 'pytorch', *one_step], home / 'sharded.log'
    ranks = [killing.start_fork(arguments, None, log, RANK=rank, LOCAL_RANK=rank, **place) for rank in ('0', '1')]
    assert [killing.await_fork(rank) for rank in ranks] == [0, 0], log.read_text()
    shares = [torch.load(home / f'seen/2-{rank}-2.pth') for rank in (0, 1)]
    saved = weights(work / 'iter_2.pth')
    sizes = [sum(tensor.numel() for tensor in share.values()) for share in shares]
    whole = sum(tensor.numel() for tensor in prepared_model(config).parameters())
    assert max(sizes) < 0.6 * whole <= sum(sizes), 'each process has about a half'
    assert torch.load(work / 'iter_2.pth', weights_only=False)['meta']['iter'] == 2
    assert distance(saved, weights(one / 'iter_2.pth')) < 1e-5
    assert not list(work.glob('.*')), 'nothing is left half written'

    expected = launch.test(load_config(home / 'tiny.py'), work / 'iter_2.pth')
    assert repr(launch.test(load_config(config), work / 'iter_2.pth')) == repr(expected)

    on = [config, '--work-dir', work, '--resume', work / 'iter_2.pth', '--cfg-options', 'train_cfg.max_iters=3']
    assert killing.by_fork(on, None, home / 'on.log') == 0, (home / 'on.log').read_text()
    assert 'Not resumed bit for bit: processes was 2 and is 1' in (home / 'on.log').read_text()
    assert distance(weights(work / 'iter_3.pth'), weights(one / 'iter_3.pth')) < 1e-5, 'with the momentum too'


def free_port() -> str:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def prepared_model(config: Path) -> torch.nn.Module:
    return launch._try_parts(prepare(load_config(config)))


def test_strategies_that_cannot_keep_the_promises_are_refused(home):
    def ready(**strategy: object) -> Config:
        given = {f'strategy.{key}': value for key, value in strategy.items()}
        return prepare(load_config(home / 'sharded.py', {'launcher': 'pytorch', **given}))

    assert ready().strategy.type == prepare(ready()).strategy.type == 'ShardedStrategy'
    with pytest.raises(UserError, match="strategy=dict.type='FSDPStrategy'. only, and the config has DDPStrategy"):
        ready(type='DDPStrategy')
    with pytest.raises(ValueError, match="must be 'full'.*got 'local'"):
        STRATEGIES.build(ready(state_dict_cfg='local').strategy)


def test_the_monitor_refuses_a_sharded_network(monkeypatch):
    monkeypatch.setattr('mmseg_sr.engine.monitor.is_sharded', lambda model: True)
    with pytest.raises(UserError, match='SRMonitorHook cannot look at a sharded network'):
        SRMonitorHook().before_train(SimpleNamespace(model=torch.nn.Identity()))
