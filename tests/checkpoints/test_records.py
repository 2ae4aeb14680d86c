"""What a training puts into its checkpoints can be read, or is named when it is saved; and nothing refused is lost."""

import copy
import datetime
import inspect
import io
import shutil
from collections import Counter, OrderedDict
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS, OPTIMIZERS, PARAM_SCHEDULERS
from tiny_config import write_config

from mmseg_sr.checkpoints.describe import describe
from mmseg_sr.checkpoints.publish import publish
from mmseg_sr.checkpoints.reading import load, read_checkpoint
from mmseg_sr.checkpoints.records import fault_of
from mmseg_sr.config import TRUST
from mmseg_sr.runs.models import class_names

TYPES = st.sampled_from(['?', 'i1', '<i4', '>i4', '<u2', '>u8', '<f2', '<f4', '>f8', '<c8', '<U3', '>U3', 'S4', '<U0'])
ARRAYS = TYPES.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)))
NAMES = st.text() | st.integers() | st.tuples(st.integers(), st.text())
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), st.binary()),
    *(st.dates(), st.datetimes(timezones=st.sampled_from([None, datetime.UTC])), st.times(), st.timedeltas()),
    # Of PureWindowsPath('//a/') pickle itself makes another path.
    *(
        st.builds(kind, st.text('ab/.', min_size=1)).filter(lambda path: copy.copy(path) == path)
        for kind in (Path, PurePosixPath, PureWindowsPath)
    ),
    *(ARRAYS, ARRAYS.map(np.asfortranarray), TYPES.map(np.dtype), st.sets(NAMES), st.frozensets(NAMES)),
    *(st.builds(np.float32, st.floats(width=32)), st.builds(np.int64, st.integers(-9, 9)), st.builds(np.str_, NAMES)),
    *(st.builds(Counter, st.text()), st.builds(slice, st.integers()), st.just(torch.float16), st.just(torch.Size([2]))),
    st.lists(st.floats(0, 1), min_size=1).map(lambda values: HistoryBuffer(values, [1] * len(values))),
)
RECORDS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(NAMES, inner)
        | st.dictionaries(NAMES, inner).map(OrderedDict)
        | st.dictionaries(st.from_regex(r'[a-z]{1,3}', fullmatch=True), inner).map(ConfigDict)
    ),
)


def same(one: object, other: object) -> bool:
    """Equal, and of the same types throughout."""
    if type(one) is not type(other):
        return False
    if isinstance(one, HistoryBuffer):
        return all(map(same, one.data, other.data)) and one.mean() == other.mean()
    if isinstance(one, np.ndarray):
        layout = [(each.dtype, each.shape, each.flags.f_contiguous, each.flags.writeable) for each in (one, other)]
        return layout[0] == layout[1] and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or one != one


@settings(max_examples=100, deadline=None)
@given(RECORDS)
def test_records_are_read_as_they_were_written(record):
    file = io.BytesIO()
    torch.save({'meta': {'record': record, 'again': [record]}}, file)
    file.seek(0)
    meta = load(file)['meta']
    assert same(meta['record'], record) and same(meta['again'], [record])
    assert fault_of(record) is None


def test_tuples_that_hold_one_another_are_read_at_once(no_hang):
    record = (np.ones(1),)
    for _ in range(60):
        record = (record, record)
    file = io.BytesIO()
    torch.save(record, file)
    file.seek(0)
    no_hang()
    assert load(file)[0][1][0] is not None


@pytest.mark.parametrize('name', sorted(OPTIMIZERS.module_dict))
def test_the_state_of_every_optimizer_is_read(name):
    if name in ('Optimizer', 'ZeroRedundancyOptimizer', 'SparseAdam'):
        pytest.skip('takes other gradients, or processes')
    weight = torch.nn.Parameter(torch.rand(2, 2))
    optimizer = OPTIMIZERS.get(name)([dict(params=[weight], lr=0.1, name='squeeze', betas=(0.5, 0.5))])
    optimizer.step(lambda: weight.sum().backward() or weight.sum().detach())
    assert fault_of({'optimizer': optimizer.state_dict()}) is None


@pytest.mark.parametrize('name', sorted(name for name in PARAM_SCHEDULERS.module_dict if name.endswith('LR')))
def test_the_state_of_every_scheduler_is_read(name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.rand(2))], lr=0.1)
    options = dict(gamma=0.5, milestones=[2], T_max=5, eta_max=0.1, total_steps=5, step_size=2, periods=[3], eta_min=0)
    options |= dict(restart_weights=[1])
    kind = PARAM_SCHEDULERS.get(name)
    takes = {key for base in kind.__mro__[:-1] for key in inspect.signature(base.__init__).parameters} - {'eta_min'}
    takes |= {'eta_min'} & {name.replace('CosineRestartLR', 'eta_min')}
    state = kind(optimizer, **{key: value for key, value in options.items() if key in takes}).state_dict()
    assert len(state) > 8 and fault_of(state) is None


def test_classes_and_colours_may_be_arrays(tmp_path):
    meta = {'classes': np.array(['road', 'car']), 'palette': np.array([[1, 2, 3], [4, 5, 6]], np.uint8)}
    torch.save(
        {'meta': {'cfg': 'model = {}', 'dataset_meta': meta}, 'state_dict': {'w': torch.ones(1)}}, tmp_path / 'a.pth'
    )
    assert describe(tmp_path / 'a.pth')['classes'] == ['road', 'car']
    published = read_checkpoint(publish(tmp_path / 'a.pth', tmp_path / 'out')['.safetensors']['path'])
    assert published['meta']['dataset_meta'] == {'classes': ['road', 'car'], 'palette': [[1, 2, 3], [4, 5, 6]]}
    model = SimpleNamespace(out_channels=2, dataset_meta=meta)
    assert class_names(model) == (['road', 'car'], [[1, 2, 3], [4, 5, 6]])


# ------------------------------------------------------------------------------------------------------------- resuming

ATOMIC = """
train_cfg.update(max_iters=8, val_interval=99)
default_hooks['checkpoint'] = dict(type='{hook}', by_epoch=False, interval=4)
default_hooks['exact_resume'] = dict(type='ExactResumeHook')
param_scheduler = [dict({scheduler}, by_epoch=False)]
"""
SCHEDULERS = {
    'OneCycleLR': "type='OneCycleLR', eta_max=0.01, total_steps=8",
    'linear': "type='OneCycleLR', eta_max=0.01, total_steps=8, anneal_strategy='linear', three_phase=True",
    "a user's": "type='CurvedLR', gamma=0.5",
}


@PARAM_SCHEDULERS.register_module(force=True)
class CurvedLR(PARAM_SCHEDULERS.get('ExponentialLR')):
    """It keeps functions, as OneCycleLR does, and ones that nobody can write."""

    def __init__(self, *args, **kwargs):
        self.bound, self.curve = self.get_last_value, lambda rate: rate * 0.9
        super().__init__(*args, **kwargs)

    def _get_value(self):
        return [self.curve(value) for value in super()._get_value()]


def write(folder: Path, hook: str = 'AtomicCheckpointHook', scheduler: str = 'OneCycleLR', extra: str = '') -> Path:
    return write_config(folder, extra=ATOMIC.format(hook=hook, scheduler=SCHEDULERS[scheduler]) + extra)


@pytest.mark.parametrize(
    ('hook', 'scheduler'), [*(('AtomicCheckpointHook', name) for name in SCHEDULERS), ('CheckpointHook', 'OneCycleLR')]
)
def test_a_training_is_resumed_exactly_whatever_the_scheduler(hook, scheduler, call, tmp_path):
    config, whole, half = write(tmp_path, hook, scheduler), tmp_path / 'whole', tmp_path / 'half'
    assert call('train', config, '--work-dir', whole).status == 0
    half.mkdir()
    shutil.copy(whole / 'iter_4.pth', half)
    done = call('train', config, '--work-dir', half, '--resume')
    assert done.status == 0 and 'resumed epoch: 0, iter: 4' in done.out + done.err
    assert 'will be refused' not in done.out + done.err
    ours, theirs = (read_checkpoint(folder / 'iter_8.pth') for folder in (half, whole))
    assert all(torch.equal(ours['state_dict'][key], value) for key, value in theirs['state_dict'].items())
    for state, other in zip(ours['param_schedulers'], theirs['param_schedulers'], strict=True):
        assert same(state, other) and ('anneal_func' in state) == (scheduler != "a user's")
    assert call('test', config, half / 'iter_8.pth').status == 0


METAINFO = "train_dataloader['dataset'] = dict(dataset, metainfo=dict(dataset['metainfo'], note={note}))\n"


@pytest.fixture
def refused(call, tmp_path, monkeypatch) -> tuple[Path, str]:
    """(config, output) of a training whose checkpoints hold what is not read."""
    monkeypatch.setenv(TRUST, '0')
    config = write(tmp_path, extra='import decimal\n' + METAINFO.format(note="[1, decimal.Decimal('1.5')]"))
    done = call('train', config, '--cfg-options', 'train_cfg.max_iters=4')
    assert done.status == 0
    return config, done.out + done.err


def test_what_cannot_be_read_is_named_at_the_first_save(refused):
    (said,) = [line for line in refused[1].splitlines() if 'will be refused by --resume' in line]
    assert "['meta']['dataset_meta']['note'][1] (it asks for decimal.Decimal)" in said and '--trust-checkpoint' in said


@pytest.mark.parametrize('way', ['--resume', 'resume=True', 'older', 'weights'])
def test_a_training_is_never_begun_anew_over_a_checkpoint_that_was_refused(way, refused, call, tmp_path, monkeypatch):
    config, work = refused[0], tmp_path / 'work/tiny'
    if way == 'weights':
        torch.save({'state_dict': {'w': torch.ones(1)}}, work / 'iter_4.pth')
    elif way == 'older':
        assert call('train', write(tmp_path, extra="work_dir += '2'\n")).status == 0
        shutil.move(tmp_path / 'work/tiny2/iter_8.pth', work / 'iter_2.pth')
    before = {path: path.read_bytes() for path in work.rglob('*') if path.is_file()}
    words = [config, '--work-dir', work] + (['--cfg-options', 'resume=True'] if way == 'resume=True' else ['--resume'])
    said = call('train', *words).mistake
    assert f'{work}/iter_4.pth' in said and '--work-dir' in said and '\n' not in said
    assert ('has weights only' if way == 'weights' else 'it asks for decimal.Decimal') in said
    assert before == {path: path.read_bytes() for path in work.rglob('*') if path.is_file()}
    if way == '--resume':
        assert call('train', *words, '--trust-checkpoint').status == 0
        assert (work / 'iter_8.pth').is_file()


@HOOKS.register_module(force=True)
class NotingHook(Hook):
    def before_train(self, runner):
        runner.message_hub.update_info('note', {'made': lambda: 0})


def test_what_cannot_be_written_is_one_message_and_no_file(call, tmp_path):
    config = write(tmp_path, extra="custom_hooks = [dict(type='NotingHook')]\n")
    assert "['message_hub']['runtime_info']['note']['made'] in it cannot (" in call('train', config).mistake
    assert not list((tmp_path / 'work').rglob('*.pth'))
