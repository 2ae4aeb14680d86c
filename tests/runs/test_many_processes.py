"""Several processes are one: same gradients, weights and metrics; one that dies is named, and the others go on."""

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import killing
import pytest
import torch
from in_process import ROOT, Done, command
from mmengine.config import Config
from tiny_config import write_config, write_images

from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.processes import first_process_speaks, process_group
from mmseg_sr.runs import launch

MEMORY = 'backbone.layer3.sr.memory'
STEPS, DEATH, SAVED = 50, 15, 10  # of the whole training; where one process dies, and what was saved before

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


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with the config, and 11 images: neither two nor four processes have the same number of them."""
    home = tmp_path_factory.mktemp('home')
    write_images(home / 'data', count=11)
    changes = CHANGES.format(steps=STEPS, saved=SAVED, folder=str(home / 'seen'))
    write_config(home, extra=changes)
    return home


def train(config: Path, processes: int, work: Path, *more: object, **environment: str) -> tuple[int, str]:
    """Train as a user does: exit status, and all output."""
    done = command(ROOT / 'tools/dist_train.sh', config, processes, '--work-dir', work, *more, **environment)
    return done.status, done.out + done.err


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


def distance(ours: dict, theirs: dict, by_layer: bool = False) -> float:
    """The largest difference between two sets of tensors, relative to the largest number in each tensor, or layer.

    The gradient of a bias of one number is a sum that may cancel: then its own size is rounding, not its layer's.
    """
    assert ours.keys() == theirs.keys() and len(ours) >= 80
    places = {name: name.rpartition('.')[0] if by_layer else name for name in theirs}
    scales = dict.fromkeys(places.values(), 1e-9)
    for name, place in places.items():
        scales[place] = max(scales[place], float(theirs[name].abs().max()))
    return max(float((ours[name].double() - theirs[name]).abs().max()) / scales[places[name]] for name in theirs)


# ------------------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize(('processes', 'iteration'), [(2, 0), (4, SAVED)])
def test_gradients_are_those_of_one_process_with_the_whole_batch(home, one, resumed, processes, iteration):
    seen = home / 'seen'
    if iteration:  # from the same weights: those of two trainings are a rounding apart by then, and gradients more
        seen, start = home / 'again/seen', resumed[0] / f'iter_{iteration}.pth'
        more = [f'custom_hooks.0.folder={seen}', f'train_cfg.max_iters={iteration + 1}']
        words = [home / 'tiny.py', '--work-dir', home / 'again', '--resume', start, '--cfg-options', *more]
        assert killing.by_fork(words, None, home / 'again.log') == 0, (home / 'again.log').read_text()
    expected = torch.load(seen / f'1-0-{iteration}.pth')
    for rank in range(processes):
        found = torch.load(home / f'seen/{processes}-{rank}-{iteration}.pth')
        assert distance(found, expected, by_layer=True) < 1e-5, rank


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
    monkeypatch.setattr('mmseg_sr.processes._join', lambda timeout: None)
    monkeypatch.setattr('time.sleep', waited.append)
    words = r'another process is gone.*\(Read error \[192.0.2.2\]:7: Reset\): its launcher says'
    with pytest.raises(UserError, match=words):
        first_process_speaks(main, patience=7)()
    assert waited == [7]


def test_others_that_do_not_come_are_one_message(monkeypatch):
    place = {'RANK': 0, 'LOCAL_RANK': 0, 'LOCAL_WORLD_SIZE': 1, 'WORLD_SIZE': 2, 'MASTER_PORT': 0}
    for name, value in {**place, 'MASTER_ADDR': '127.0.0.1'}.items():
        monkeypatch.setenv(name, str(value))
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=1))))
    with pytest.raises(UserError, match='cannot join the other processes .* MASTER_ADDR and PORT must'):
        with process_group(cfg):
            pass


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
        for line in commands:
            try:
                subprocess.run(['ip', *line.split()], check=True, capture_output=True, text=True)
            except (FileNotFoundError, subprocess.CalledProcessError) as error:
                pytest.skip(f'no network namespaces here: {getattr(error, "stderr", None) or error}')
            if line.startswith('netns add'):
                stack.callback(subprocess.run, ['ip', 'netns', 'del', line.split()[-1]], check=True)
        yield [('ip', 'netns', 'exec', name) for name in names]


def test_two_hosts_train_as_one_process(home, one, hosts):
    words = [ROOT / 'tools/dist_train.sh', home / 'tiny.py', 1, '--work-dir', home / 'hosts']
    words += options(2, **{'train_cfg.max_iters': 1})
    place = {'NNODES': '2', 'MASTER_ADDR': '192.0.2.1'}

    def on_host(rank: int) -> Done:
        return command(*hosts[rank], *words, NODE_RANK=str(rank), GLOO_SOCKET_IFNAME=f'cable{rank + 1}', **place)

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(on_host, (0, 1)))
    assert [done.status for done in ended] == [0, 0], ended
    assert distance(weights(home / 'hosts/iter_1.pth'), weights(one / 'iter_1.pth')) < 1e-5
