"""Nothing is lost: a training that was killed anywhere and resumed ends as one that was not, bit for bit."""

import os
import random
import shutil
import signal
import socket
from functools import partial
from pathlib import Path

import killing
import numpy as np
import pytest
import torch
from killing import Kill
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from tiny_config import write_config
from yapf.yapflib import yapf_api

from mmseg_sr import AtomicCheckpointHook
from mmseg_sr.checkpoints.resuming import newest_checkpoint, resume_newest
from mmseg_sr.config import load_config
from mmseg_sr.runs import launch

KILLS = 30


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder for everything that these tests write, with the config in it."""
    home = tmp_path_factory.mktemp('home')
    write_config(home, extra=killing.CHANGES)
    return home


def train(home: Path, work: Path, kill: Kill | None, log: Path, workers: int = 0, *more: object) -> int:
    """Start or resume the training of these tests; its status."""
    options = ['--cfg-options', f'train_dataloader.num_workers={workers}', *more]
    return killing.by_fork([home / 'tiny.py', '--work-dir', work, '--resume', *options], kill, log)


@pytest.fixture(scope='module')
def whole(home) -> dict:
    """What a training leaves that nothing disturbs; its 'seconds' and the 'size' of a checkpoint."""
    assert train(home, home / 'whole', None, home / 'whole.log') == 0, (home / 'whole.log').read_text()
    size = (home / f'whole/iter_{killing.ITERATIONS}.pth').stat().st_size
    outcome = killing.outcome(home / 'whole')
    assert len(outcome['losses']) == killing.ITERATIONS and len(outcome['state_dict']) > 50
    return {'outcome': outcome, 'seconds': killing.seconds(home / 'whole'), 'size': size}


# --------------------------------------------------------------------------------------------------------------- kills


def test_a_training_killed_anywhere_ends_with_the_same_bits_and_loses_no_checkpoint(home, whole):
    generator = random.Random(0)
    kills = killing.random_kills(generator, whole['seconds'], whole['size'])
    stories = []

    def run(work: Path, kill: Kill | None, log: Path) -> int:
        return train(home, work, kill, log, workers=generator.choice((0, 0, 0, 2)))

    while sum(len(story.kills) for story in stories) < KILLS:
        work = home / f'killed{len(stories)}'
        story = killing.live(run, work, kills, 10)
        stories.append(story)
        assert story.lost == []
        assert killing.differences(killing.outcome(work), whole['outcome']) == [], story.kills
    kinds = {(kill.kind, kill.number) for story in stories for kill, _ in story.kills}
    assert len(kinds) == 6, kinds


def test_sigterm_saves_the_iteration_and_exits_with_143(home, whole, tmp_path):
    work, log = tmp_path / 'work', tmp_path / 'log'
    for kill in (Kill('time', signal.SIGTERM, 0), Kill('evaluation', signal.SIGTERM, 1)):
        assert train(home, work, kill, log, workers=2) == 143
        saved, faults = killing.look(work, 143)
        assert faults == []
        assert f'iteration {saved} is saved, leaving with status 143' in log.read_text()
    assert train(home, work, None, log, workers=2) == 0
    assert killing.differences(killing.outcome(work), whole['outcome']) == []


def test_a_run_without_a_seed_keeps_the_one_it_drew(home, tmp_path):
    work, log = tmp_path / 'work', tmp_path / 'log'
    assert train(home, work, Kill('evaluation', signal.SIGTERM, 1), log, 0, 'randomness.seed=None') == 143
    (saved,) = work.glob('iter_*.pth')
    seed = torch.load(saved, weights_only=False)['meta']['seed']
    assert train(home, work, None, log, 0, 'randomness.seed=None') == 0
    assert 'value of random seed' not in log.read_text(), 'no warning of another seed'
    assert train(home, tmp_path / 'whole', None, log, 0, f'randomness.seed={seed}') == 0
    assert killing.differences(killing.outcome(work), killing.outcome(tmp_path / 'whole')) == []


def test_a_second_sigterm_ends_at_once_but_not_one_that_comes_with_the_first(home, tmp_path):
    twice = Kill('twice', signal.SIGTERM, 0)
    assert train(home, tmp_path / 'work', twice, tmp_path / 'log') == 143
    impatient = 'default_hooks.preemption.patience=0'
    assert train(home, tmp_path / 'work', twice, tmp_path / 'log', 0, impatient) == -signal.SIGTERM


def test_an_evaluation_that_was_cut_off_is_made_when_the_run_is_resumed(home, whole, tmp_path):
    work, log = tmp_path / 'work', tmp_path / 'log'
    last = Kill('evaluation', signal.SIGKILL, 7)  # images 6 to 10 are those of the last one
    assert train(home, work, last, log) == -signal.SIGKILL
    assert killing.look(work, 0)[0] == killing.ITERATIONS, 'all was trained'
    assert log.read_text().count('mIoU: ') == 1
    (work / 'last_checkpoint').write_text(str(work / 'iter_9.pth'))  # as if the kill had come before it was renewed
    os.utime(work / 'last_checkpoint', (0, 0))
    assert train(home, work, None, log) == 0
    assert log.read_text().count('mIoU: ') == 2
    assert killing.differences(killing.outcome(work), whole['outcome']) == []


def test_data_workers_of_a_resumed_run_outlive_sigterm(home, whole, tmp_path):
    work, log = tmp_path / 'work', tmp_path / 'log'
    assert train(home, work, Kill('evaluation', signal.SIGKILL, 2), log) == -signal.SIGKILL
    # These are born after the evaluation that was cut off, which is made first.
    assert train(home, work, Kill('birth', signal.SIGTERM, 2), log, workers=2) == 143, log.read_text()
    assert train(home, work, None, log, workers=2) == 0
    assert killing.differences(killing.outcome(work), whole['outcome']) == []


def test_a_full_disk_loses_nothing(home, whole, tmp_path):
    _, faults = killing.fill_disk(partial(train, home), tmp_path, whole['size'])
    assert faults == []
    assert killing.differences(killing.outcome(tmp_path / 'disk/work'), whole['outcome']) == []


# --------------------------------------------------------------------------------------------------- several processes


def train_two(home: Path, work: Path, kill: Kill | None, log: Path) -> list[int]:
    """The same training in two processes, of which the second one dies."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    arguments = [home / 'tiny.py', '--work-dir', work, '--resume', '--launcher', 'pytorch']
    place = {'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    processes = [
        killing.start_fork(arguments, kill if rank else None, log, RANK=str(rank), LOCAL_RANK=str(rank), **place)
        for rank in (0, 1)
    ]
    return [killing.await_fork(process) for process in processes]


def test_two_processes_leave_together_and_resume_exactly(home, tmp_path):
    assert train_two(home, tmp_path / 'whole', None, tmp_path / 'whole.log') == [0, 0]
    whole = killing.outcome(tmp_path / 'whole')
    work, log = tmp_path / 'work', tmp_path / 'log'
    for kill in (Kill('evaluation', signal.SIGTERM, 1), Kill('time', signal.SIGTERM, 0)):
        assert train_two(home, work, kill, log) == [143, 143], log.read_text()
        assert killing.look(work, 143)[1] == []
    shutil.copytree(work, tmp_path / 'alone')
    assert train_two(home, work, None, log) == [0, 0]
    assert killing.differences(killing.outcome(work), whole) == []

    assert train(home, tmp_path / 'alone', Kill('evaluation', signal.SIGTERM, 1), log) == 143
    assert 'Not resumed bit for bit: processes was 2 and is 1' in log.read_text()


# ------------------------------------------------------------------------------------------- what a run is resumed from


@pytest.fixture
def folder(home, whole, tmp_path) -> Path:
    """A work directory with whole checkpoints of iterations 3, 6 and 9, the last of them named."""
    for number in (3, 6, 9):
        shutil.copy(home / f'whole/iter_{killing.ITERATIONS}.pth', tmp_path / f'iter_{number}.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_9.pth'))
    return tmp_path


def found(folder: Path) -> str | None:
    path, _ = newest_checkpoint(folder)
    return path and path.name


def test_what_is_not_whole_is_skipped_and_named(folder):
    data = (folder / 'iter_9.pth').read_bytes()
    (folder / 'iter_9.pth').write_bytes(data[: len(data) // 2])
    middle = len(data) // 2  # among the weights: torch.load does not see it
    (folder / 'iter_6.pth').write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    torch.load(folder / 'iter_6.pth', weights_only=False)
    (folder / 'iter_12.pth').write_bytes(b'')
    torch.save({'state_dict': {'a': torch.zeros(1)}}, folder / 'iter_15.pth')
    (folder / '.iter_18.1.partial.pth').write_bytes(data)
    path, skipped = newest_checkpoint(folder)
    assert path == folder / 'iter_3.pth'
    assert [each.path.name for each in skipped] == ['iter_15.pth', 'iter_12.pth', 'iter_9.pth', 'iter_6.pth']
    expected = ('weights only', 'cut short', 'cut short', 'is damaged')
    assert all(word in each.fault for word, each in zip(expected, skipped, strict=True)), skipped
    assert [each.is_whole for each in skipped] == [True, False, False, False]


def test_the_tool_says_what_it_skipped(home, folder):
    (folder / 'iter_9.pth').write_bytes(b'half')
    log = folder / 'log'
    assert train(home, folder, None, log) == 0
    assert f'not resumed from {folder}/iter_9.pth: cut short' in log.read_text()
    assert f'Load checkpoint from {folder}/iter_6.pth' in log.read_text()


def test_the_newest_is_the_named_one_or_one_written_after_it(folder):
    assert found(folder) == 'iter_9.pth'
    shutil.copy(folder / 'iter_9.pth', folder / 'iter_12.pth')
    assert found(folder) == 'iter_12.pth', 'a kill came before it was named'
    os.utime(folder / 'iter_12.pth', (0, 0))
    assert found(folder) == 'iter_9.pth', 'of another, longer run'
    (folder / 'last_checkpoint').write_text('/moved/from/iter_6.pth')
    assert found(folder) == 'iter_6.pth', 'the folder was moved'
    (folder / 'iter_6.pth').unlink()
    assert newest_checkpoint(folder) == (folder / 'iter_3.pth', [(folder / 'iter_6.pth', 'it is not there', False)])
    (folder / 'last_checkpoint').write_text('')
    assert found(folder) == 'iter_12.pth'
    for path in folder.glob('iter_*'):
        path.unlink()
    assert newest_checkpoint(folder) == (None, [])


def test_resume_in_a_config_finds_the_same(home, folder):
    cfg = load_config(home / 'tiny.py', {'work_dir': str(folder), 'resume': True})
    resumed = resume_newest(cfg)
    assert (resumed.resume, resumed.load_from) == (True, str(folder / 'iter_9.pth'))
    assert cfg.get('load_from') is None, "the caller's config stays as it was"
    cfg.work_dir = str(folder / 'nothing')
    assert resume_newest(cfg).resume is False


# -------------------------------------------------------------------------------------------------------------- streams


@HOOKS.register_module(force=True)
class WitnessHook(Hook):
    """Note the images of each iteration and the network's next random numbers; draw some more between iterations."""

    seen: list = []

    def __init__(self, draws: int = 0):
        self.draws = draws

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append([*data_batch['inputs'], torch.rand(3)])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        torch.rand(self.draws), np.random.rand(self.draws), [random.random() for _ in range(self.draws)]


SR = """
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'], sr=dict(after='layer2', memory_size=(8, 8), hidden_channels=4)
)
"""


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """What a run in this process changes for all."""
    monkeypatch.setattr(yapf_api, 'FormatCode', yapf_api.FormatCode)
    yield
    torch.use_deterministic_algorithms(False)


def witness(home: Path, name: str, change: str = '') -> list:
    killing.begin()
    short = "custom_hooks = [dict(type='WitnessHook')]\ntrain_cfg.update(max_iters=3, val_begin=9)\n"
    extra = killing.CHANGES + short + change
    WitnessHook.seen = []
    launch.train(load_config(write_config(home, name, extra)))
    return WitnessHook.seen


def test_a_pair_sees_the_same_crops_and_the_same_dropout_whatever_else_draws(home):
    plain, paired = witness(home, 'plain.py'), witness(home, 'paired.py', SR + "custom_hooks[0]['draws'] = 7\n")
    assert len(plain) == 3
    for ours, theirs in zip(plain, paired, strict=True):
        assert all(map(torch.equal, ours, theirs))
    numbers = torch.stack([iteration[-1] for iteration in plain])
    assert len(numbers.unique()) == numbers.numel(), 'each iteration has its own'
    other = witness(home, 'other.py', "randomness['seed'] = 1\n")
    assert not torch.equal(other[0][-1], plain[0][-1])


# ------------------------------------------------------------------------------------------------- configs and mistakes


def test_every_config_has_the_hooks(root):
    leaves = sorted(path for path in root.glob('configs/*/*.py') if path.parent.name != '_base_')
    assert len(leaves) > 10
    for path in leaves:
        hooks = {hook.type for hook in Config.fromfile(path).default_hooks.values()}
        assert hooks >= {'AtomicCheckpointHook', 'ExactResumeHook', 'PreemptionHook'}, path
        assert 'CheckpointHook' not in hooks, path


def test_a_place_that_is_not_on_a_local_disk_is_refused():
    for arguments in (dict(out_dir='s3://bucket'), dict(backend_args=dict(backend='petrel'))):
        with pytest.raises(ValueError, match='local folders, not to .*(bucket|petrel)'):
            AtomicCheckpointHook(**arguments)


def test_hooks_that_cannot_keep_their_promise_say_so(home, capfd):
    witness(
        home,
        'stock.py',
        "default_hooks['checkpoint'] = dict(type='CheckpointHook', by_epoch=False, interval=3)\n"
        "train_dataloader['sampler'] = dict(type='DefaultSampler')\n",
    )
    said = capfd.readouterr()
    said = said.out + said.err
    assert 'SIGTERM ends this training without a checkpoint' in said
    assert 'DefaultSampler cannot skip images' in said
