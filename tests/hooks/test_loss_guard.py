"""A loss that is not finite never reaches the weights: the training stops and says where, or leaves the batch out."""

import re
from pathlib import Path

import torch
from in_process import ROOT, call, command, forget_runs
from mmengine.runner import Runner
from tiny_config import write_config

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.checkpoints.resuming import last_good
from mmseg_sr.config import load_config, prepare
from mmseg_sr.runs import launch

SPOILING = """
import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmseg.registry import TRANSFORMS

@TRANSFORMS.register_module(force=True)
class Spoil:
    def __call__(self, sample):
        if sample['img_path'].endswith('3.png'):
            sample['img'] = np.full_like(sample['img'], np.nan, dtype=np.float32)
        return sample

@HOOKS.register_module(force=True)
class Overflow(Hook):
    priority = 'HIGH'  # before the checkpoint
    def after_train_iter(self, runner, *args, **kwargs):
        next(runner.model.parameters()).data[0] = float('inf')
"""
EXTRA = """
custom_imports = dict(imports=['mmseg_sr', 'spoiling'])
spoiled = [pipeline[0], dict(type='Spoil'), *pipeline[1:]]
train_dataloader['dataset'] = dict(dataset, pipeline=spoiled)
default_hooks['checkpoint']['interval'] = 1
train_cfg.update(max_iters=6, val_interval=99)
custom_hooks = [dict(type='LossGuardHook', max_skips=0)]
"""


def write_spoiled(folder: Path, extra: str = '') -> Path:
    """A config that trains on five images, one of which, 3.png, makes the loss NaN."""
    (folder / 'spoiling.py').write_text(SPOILING)
    return write_config(folder, extra=EXTRA + extra)


def skipping(count: int) -> str:
    return f"custom_hooks[0]['max_skips'] = {count}\n"


def state(path: Path) -> dict[str, torch.Tensor]:
    """Weights, buffers and momenta of a checkpoint."""
    checkpoint = read_checkpoint(path)
    momenta = checkpoint['optimizer']['state']
    return checkpoint['state_dict'] | {
        f'momentum {index}': value['momentum_buffer'] for index, value in momenta.items() if 'momentum_buffer' in value
    }


def same(first: Path, second: Path) -> bool:
    states = state(first), state(second)
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


def test_it_stops_with_the_iteration_the_files_and_the_last_good_checkpoint(tmp_path):
    line = call('train', write_spoiled(tmp_path), folder=tmp_path).mistake
    iteration = int(re.match(r'error: iteration (\d): the loss is nan for ', line)[1])
    assert f'{tmp_path}/data/img/3.png' in line and line.count('/data/img/') == 2, 'a batch of two'
    work = tmp_path / 'work/tiny'
    saved = sorted(path.name for path in work.glob('*.pth'))
    assert saved == [f'iter_{index}.pth' for index in range(1, iteration)], 'nothing is saved of what was spoiled'
    good = work / f'iter_{iteration - 1}.pth'
    expected = f'Last good checkpoint: {good} (--resume {good})' if saved else f'There is no good checkpoint in {work}'
    assert line.endswith(expected)


def test_a_batch_that_is_left_out_leaves_no_trace(tmp_path):
    done = call('train', write_spoiled(tmp_path, skipping(9)), folder=tmp_path)
    assert done.status == 0, done.err
    output = done.out + done.err
    skipped = [int(each) for each in re.findall(r'iteration (\d): the loss is nan for .*3\.png.*Left out', output)]
    assert len(set(skipped)) == len(skipped) >= 1
    work = tmp_path / 'work/tiny'
    for iteration in range(2, 7):
        unchanged = same(work / f'iter_{iteration}.pth', work / f'iter_{iteration - 1}.pth')
        assert unchanged == (iteration in skipped), iteration
    assert all(value.isfinite().all() for value in state(work / 'iter_6.pth').values())


def test_the_number_left_out_is_bounded_over_a_training_and_its_resumption(tmp_path):
    config = write_spoiled(tmp_path, skipping(1) + 'train_cfg.update(max_iters=12)\n')
    first = call('train', config, folder=tmp_path)
    assert (first.out + first.err).count('Left out, 1 of 1') >= 1
    assert '1 batches have been left out already' in first.mistake
    again = call('train', config, '--resume', folder=tmp_path)
    assert 'Left out' not in again.out + again.err
    assert again.mistake == first.mistake, 'it comes to the same batch'


def test_weights_that_an_earlier_step_spoiled_are_told_from_a_bad_batch(tmp_path):
    step = "custom_hooks.append(dict(type='Overflow'))\ntrain_dataloader['dataset'] = dataset\n"
    config = write_spoiled(tmp_path, skipping(5) + step)
    done = call('train', config, folder=tmp_path)
    line = done.mistake
    assert 'was not finite before: an earlier step spoiled it' in line
    assert 'Left out' not in done.out + done.err
    assert (tmp_path / 'work/tiny/iter_1.pth').is_file()
    assert line.endswith(f'There is no good checkpoint in {tmp_path / "work/tiny"}')


def test_the_last_good_checkpoint_is_the_newest_with_finite_weights(tmp_path):
    config = write_spoiled(tmp_path, "train_dataloader['dataset'] = dataset\ntrain_cfg.update(max_iters=3)\n")
    assert call('train', config, folder=tmp_path).status == 0
    work = tmp_path / 'work/tiny'
    assert last_good(work) == work / 'iter_3.pth'
    checkpoint = torch.load(work / 'iter_3.pth', weights_only=False)
    next(iter(checkpoint['state_dict'].values()))[0] = float('inf')
    torch.save(checkpoint, work / 'iter_3.pth')
    assert last_good(work) == work / 'iter_2.pth'
    assert last_good(tmp_path / 'data') is None


def test_a_finite_training_is_the_same_with_and_without_it(tmp_path):
    cfg = load_config(write_config(tmp_path, extra="custom_hooks = [dict(type='LossGuardHook', max_skips=2)]\n"))
    guarded = launch.train(cfg).model.state_dict()
    forget_runs()
    cfg.custom_hooks, cfg.work_dir = [], str(tmp_path / 'plain')
    plain = Runner.from_cfg(prepare(cfg)).train().state_dict()
    assert guarded.keys() == plain.keys()
    assert all(torch.equal(guarded[key], plain[key]) for key in plain)


def test_two_processes_leave_out_and_stop_together(tmp_path):
    config = write_spoiled(tmp_path, skipping(1) + 'train_cfg.update(max_iters=30)\n')
    done = command(ROOT / 'tools/dist_train.sh', config, 2, cwd=tmp_path)
    assert re.search(r'exitcode *: 2\b', done.err), done.err[-3000:]
    first = re.search(r'iteration (\d+): the loss is nan for (.*)\. Left out, 1 of 1', done.out + done.err)
    (line,) = re.findall('^error: iteration.*', done.err, re.M)  # what process 1 may say begins with its name
    second = re.match(r'error: iteration (\d+): the loss is nan for (.*)\. The weights are as before it', line)
    assert int(first[1]) < int(second[1])
    for files in (first[2], second[2]):
        assert '3.png' in files and files.count('.png') == 2, 'the batch of the process that has it'
    assert line.endswith(f'iter_{int(second[1]) - 1}.pth)')


def test_a_batch_is_left_out_of_accumulated_gradients_too(tmp_path):
    config = write_spoiled(tmp_path, skipping(9) + "optim_wrapper['accumulative_counts'] = 2\n")
    done = call('train', config, folder=tmp_path)
    assert done.status == 0, done.err
    assert 'Left out' in done.out + done.err
    assert all(value.isfinite().all() for value in state(tmp_path / 'work/tiny/iter_6.pth').values())
