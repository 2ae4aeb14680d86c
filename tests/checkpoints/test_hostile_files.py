"""A checkpoint runs no code, whichever way it comes in; a broken one is one clear message, and not loaded in part."""

import copy
import copyreg
import hashlib
import os
import random
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import broken_files
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner import checkpoint as runner_checkpoint
from mmseg.apis import MMSegInferencer, init_model
from payloads import FORMATS, PAYLOADS, Call, by_getattr, code, save
from tiny_config import SR, write_config
from torch import nn

from mmseg_sr.checkpoints import loaders
from mmseg_sr.checkpoints.describe import describe
from mmseg_sr.checkpoints.publish import publish
from mmseg_sr.checkpoints.reading import load, read_checkpoint
from mmseg_sr.checkpoints.weights import check_weights
from mmseg_sr.config import TRUST, load_config, prepare
from mmseg_sr.errors import UserError
from mmseg_sr.runs import launch
from mmseg_sr.runs.models import build_model

REFUSED = 'was refused and nothing in it was run'


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('home')


@pytest.fixture(scope='module')
def trained(home) -> tuple[Path, Path]:
    """(config, checkpoint) of a training."""
    config = write_config(home, extra=SR)
    launch.train(load_config(config))
    return config, home / 'work/tiny/iter_4.pth'


@pytest.fixture(autouse=True)
def wary(fresh, monkeypatch) -> None:
    """No test trusts what an earlier one trusted."""
    monkeypatch.setenv(TRUST, '0')


@pytest.fixture
def mark(tmp_path) -> Path:
    """The file that payloads write: as long as it is not there, nothing ran."""
    return tmp_path / 'it ran'


# ---------------------------------------------------------------------------------------------------------------- code


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('kind', PAYLOADS)
def test_code_in_a_checkpoint_is_refused_before_anything_runs(kind, form, mark, tmp_path):
    path = save(PAYLOADS[kind](mark), tmp_path / 'hostile.pth', **FORMATS[form])
    for read in (read_checkpoint, CheckpointLoader.load_checkpoint, load):
        with pytest.raises(UserError, match=REFUSED) as refusal:
            read(str(path))
    assert not mark.exists()
    assert '--trust-checkpoint' in str(refusal.value) and '\n' not in str(refusal.value)
    torch.load(path, weights_only=False)
    assert mark.exists(), 'the payload is a real one'


@pytest.mark.parametrize(('call', 'name'), [(Call(os.system, 'true'), f'{os.name}.system'), (Call(eval, '1'), 'eval')])
def test_a_refusal_names_what_the_file_asks_for(call, name, tmp_path):
    with pytest.raises(UserError, match=rf'\(it asks for {name}\)'):
        load(save(call, tmp_path / 'hostile.pth'))


def test_what_mmengine_allows_runs_code_and_what_is_allowed_here_does_not(mark, tmp_path):
    path = save(by_getattr(mark), tmp_path / 'hostile.pth')
    allowed = getattr(runner_checkpoint, 'get_torch_safe_globals', None)
    if allowed:
        with torch.serialization.safe_globals(allowed()):
            torch.load(path, weights_only=True)
        assert mark.exists(), "where it does not any more, mmengine's list may do"
        mark.unlink()
    with pytest.raises(UserError, match=r"getattr\(\.\.\., '__builtins__'\)"):
        load(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    'payload',
    [
        Call(np.dtype, 'O'),
        Call(np.dtype, 'V8'),
        Call(np.dtype, [('a', 'O')]),
        Call(np._core.multiarray.scalar, np.dtype('f8'), b'short'),
        Call(getattr, HistoryBuffer, '__init__'),
        Call(getattr, HistoryBuffer, '_statistics_methods'),
        Call(getattr, np.ndarray, 'min'),
        Call(getattr, OneCycleParamScheduler, '__init__'),
        Call(OneCycleParamScheduler._annealing_cos, 0, 1, 0.5),
        Call(HistoryBuffer, [1], [1]),
    ],
    ids=str,
)
def test_the_names_of_mmengines_records_make_numbers_only(payload, tmp_path):
    with pytest.raises(UserError, match=REFUSED):
        load(save(payload, tmp_path / 'hostile.pth'))


class Forged:
    """Pickled it is an object of another class, with a state of the file's choice."""

    def __init__(self, kind: type, state: object, arguments: tuple = ()):
        self.pickled = (copyreg.__newobj__, (kind, *arguments), state)

    __class__ = property(lambda self: self.pickled[1][0])

    def __reduce_ex__(self, protocol: int) -> tuple:
        return self.pickled


class Flagged:
    """Pickled it is the type of float64 with the flags of one that holds objects."""

    def __reduce__(self) -> tuple:
        return np.dtype, ('f8', False, True), (3, '<', None, None, None, -1, -1, 63)


def test_a_file_cannot_set_the_flags_of_a_type(tmp_path):
    torch.save(Flagged(), tmp_path / 'flagged.pth')
    assert torch.load(tmp_path / 'flagged.pth', weights_only=False).hasobject, 'its bytes are taken for addresses'
    assert not load(tmp_path / 'flagged.pth').hasobject
    assert not np.dtype('f8').hasobject


NUMBERS = {'max_length': 9, '_log_history': np.array([1.0, 2.0]), '_count_history': np.ones(2)}


def test_a_log_history_does_not_change_mmengines_statistics(tmp_path):
    before = dict(HistoryBuffer._statistics_methods)
    torch.save(
        Forged(HistoryBuffer, {**NUMBERS, 'statistics_methods': {'mean': HistoryBuffer.max}}), tmp_path / 'a.pth'
    )
    history = load(tmp_path / 'a.pth')
    assert type(history) is HistoryBuffer and history.statistics('mean') == 1.5
    assert HistoryBuffer._statistics_methods == before


@pytest.mark.parametrize('state', [{'_log_history': 'text'}, {'more': 1}, {'mean': 1}], ids=str)
def test_a_log_history_holds_numbers_only(state, tmp_path):
    torch.save(Forged(HistoryBuffer, {**NUMBERS, **state}), tmp_path / 'a.pth')
    with pytest.raises(UserError, match='a log history holds more than numbers'):
        load(tmp_path / 'a.pth')


def test_records_of_a_training_are_read_as_they_were_written(trained):
    ours, theirs = load(trained[1]), torch.load(trained[1], weights_only=False)
    scalars = theirs['message_hub']['log_scalars']
    assert len(scalars) > 3 and ours.keys() == theirs.keys()
    for name, history in scalars.items():
        read = ours['message_hub']['log_scalars'][name]
        assert type(read) is HistoryBuffer and read.__dict__.keys() == history.__dict__.keys()
        for array, written in zip(read.data, history.data, strict=True):
            assert type(array) is np.ndarray and array.dtype == written.dtype and np.array_equal(array, written)
        assert read.mean() == history.mean()
    for name, value in theirs['message_hub']['runtime_info'].items():
        assert ours['message_hub']['runtime_info'][name] == value
        assert type(ours['message_hub']['runtime_info'][name]) is type(value)


# --------------------------------------------------------------------------------------------------------- every way in


@pytest.fixture
def hostile(trained, mark, tmp_path) -> Path:
    """A whole checkpoint of a training, and a payload."""
    return save(Call(exec, code(mark)), tmp_path / 'hostile.pth', load(trained[1]))


def fetched(path: Path, config: Path) -> None:
    """Load it from an address: from where downloads are kept, so that nothing is fetched."""
    kept = Path(torch.hub.get_dir()) / 'checkpoints' / path.name
    kept.parent.mkdir(parents=True)
    shutil.copy(path, kept)
    CheckpointLoader.load_checkpoint(f'http://127.0.0.1:9/{path.name}')


def from_storage(path: Path, config: Path) -> None:
    with path.open('rb') as file:  # as load_from_ceph does
        runner_checkpoint._safe_torch_load(file)


def pretrained(path: Path, config: Path) -> None:
    cfg = load_config(config)
    cfg.model.init_cfg = dict(type='Pretrained', checkpoint=str(path))
    build_model(cfg).init_weights()


WAYS = {
    'init_model': lambda path, config: init_model(str(config), str(path), device='cpu'),
    'MMSegInferencer': lambda path, config: MMSegInferencer(str(config), weights=str(path), device='cpu'),
    'Runner.load_checkpoint': lambda path, config: Runner.from_cfg(prepare(load_config(config))).load_checkpoint(
        str(path)
    ),
    'Runner.resume': lambda path, config: Runner.from_cfg(prepare(load_config(config))).resume(str(path)),
    'init_cfg': pretrained,
    'address': fetched,
    's3': from_storage,
    'publish': lambda path, config: publish(path, path.parent / 'out'),
    'describe': lambda path, config: describe(path),
}


@pytest.mark.parametrize('way', WAYS)
def test_it_is_refused_by_every_way(way, trained, hostile, mark, monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=REFUSED):
        WAYS[way](hostile, trained[0])
    assert not mark.exists()


@pytest.mark.parametrize('options', [{}, {'file_name': 'b.pth'}, {'check_hash': True}], ids=str)
def test_an_address_is_loaded_as_torch_does(options, tmp_path):
    content = {'w': torch.rand(3)}
    torch.save(content, tmp_path / 'a.pth')
    digest = hashlib.sha256((tmp_path / 'a.pth').read_bytes()).hexdigest()
    for name in (f'a-{digest[:8]}.pth', 'a-01234567.pth'):
        (tmp_path / 'a.pth').rename(tmp_path / name)
        outcomes = []
        for load_url, place in (
            (loaders.load_url, tmp_path / 'ours'),
            (torch.hub.load_state_dict_from_url, tmp_path / 'theirs'),
        ):
            try:
                loaded = load_url(f'file://{tmp_path / name}', str(place), progress=False, **options)
                outcomes.append(
                    [*(value.tolist() for value in loaded.values()), *(path.name for path in place.iterdir())]
                )
            except RuntimeError as error:  # the hash
                outcomes.append(str(error))
            shutil.rmtree(place)
        assert outcomes[0] == outcomes[1] and ('invalid hash' in outcomes[0]) == (
            name == 'a-01234567.pth' and 'check_hash' in options
        )
        (tmp_path / name).rename(tmp_path / 'a.pth')


TOOLS = {
    'test': ['test', '{config}', '{hostile}'],
    'train --resume': ['train', '{config}', '--resume', '{hostile}'],
    'train load_from': ['train', '{config}', '--cfg-options', 'load_from={hostile}'],
    'visualize_sr': ['visualize_sr', '{config}', '{hostile}', '--out', 'out'],
    'ablate': ['ablate', '{config}', '{hostile}'],
    'publish_model': ['publish_model', '{hostile}', '--out', 'out'],
}


@pytest.mark.parametrize('words', TOOLS.values(), ids=TOOLS)
def test_tools_refuse_it_in_one_line(words, trained, hostile, mark, call):
    said = call(*(word.format(config=trained[0], hostile=hostile) for word in words)).mistake
    assert REFUSED in said and 'it asks for exec' in said
    assert not mark.exists() and not Path('out').exists()


def test_who_must_trusts_it(trained, hostile, mark, call, monkeypatch):
    assert call('publish_model', hostile, '--out', 'out', '--trust-checkpoint')[0] == 0
    assert mark.exists() and os.environ[TRUST] == '1'
    mark.unlink()
    monkeypatch.setenv(TRUST, '0')
    for way in ('init_model', 's3'):
        with pytest.raises(UserError, match=REFUSED):
            WAYS[way](hostile, trained[0])
        assert not mark.exists()
    monkeypatch.setenv(TRUST, '1')
    WAYS['init_model'](hostile, trained[0])
    assert mark.exists()


# -------------------------------------------------------------------------------------------------------- broken files


@pytest.fixture(scope='module')
def model(trained) -> nn.Module:
    return build_model(load_config(trained[0]))


def test_a_broken_checkpoint_is_refused_or_the_same(trained, model, no_hang, tmp_path):
    weights = load(trained[1])['state_dict']
    outcomes = {}
    path = tmp_path / 'broken.pth'
    for kind, content in broken_files.archives(trained[1].read_bytes(), random.Random(0), 20):
        path.write_bytes(content)
        no_hang()
        outcomes[kind] = broken_files.outcome(path, model, weights)
    counts = Counter(outcomes.values())
    assert counts.keys() == {'refused', 'the same'}, outcomes
    assert sum(counts.values()) > 180 and counts['refused'] > counts['the same'], counts
    assert [file.name for file in tmp_path.iterdir()] == ['broken.pth']


def test_a_broken_checkpoint_of_old_torch_has_no_checksum_and_is_never_loaded_in_part(
    trained, model, no_hang, tmp_path
):
    checkpoint, path, outcomes = load(trained[1]), tmp_path / 'old.pth', Counter()
    torch.save(checkpoint, path, **FORMATS['before torch 1.6'])
    for _, content in broken_files.old(path.read_bytes(), random.Random(0), 10):
        path.write_bytes(content)
        no_hang()
        outcomes[broken_files.outcome(path, model, checkpoint['state_dict'])] += 1
    assert outcomes.keys() == {'refused', 'the same', 'other weights'} and outcomes['refused'] > 30, outcomes


def test_broken_published_weights_are_refused(trained, model, no_hang, tmp_path):
    path = Path(publish(trained[1], tmp_path / 'out', 'tiny')['.safetensors']['path'])
    content, weights = path.read_bytes(), read_checkpoint(path)['state_dict']
    assert broken_files.outcome(path, model, weights) == 'the same'
    generator = random.Random(0)
    variants = [*broken_files.cut(content, generator, 10), *broken_files.flipped(content, generator, 20)]
    variants += [*broken_files.shifted(content, generator, 5), *broken_files.headers(content, generator, 20)]
    assert len(variants) > 90
    for kind, broken in variants:
        if broken != content:
            path.write_bytes(broken)
            no_hang()
            assert broken_files.outcome(path, model, weights) == 'refused', kind
    unnamed = tmp_path / 'unnamed.safetensors'  # no sha256 tells
    for kind, broken in [*broken_files.cut(content, generator, 10), *broken_files.headers(content, generator, 20)]:
        unnamed.write_bytes(broken)
        no_hang()
        assert broken_files.outcome(unnamed, model, weights) == 'refused', kind


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'is no checkpoint: it is empty'),
        (b'\n<!DOCTYPE html><html>Log in</html>', 'is no checkpoint: it is a web page. The download went wrong'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a', 'it is a pointer of git-lfs'),
        (b'PK\3\4', 'is damaged or cut short'),
        (b'\x80', 'is no checkpoint'),
        (bytes(5000), 'is no checkpoint: torch did not write it'),
    ],
    ids=lambda value: repr(value)[:20] if isinstance(value, bytes) else '',
)
def test_what_is_no_checkpoint_is_called_what_it_is(content, words, tmp_path):
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f'{path} ') and words in str(error.value)


def test_the_tar_files_of_old_torch_are_not_unpacked(tmp_path, monkeypatch):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/pickle').write_bytes(b'x')
    with tarfile.open(tmp_path / 'old.pth', 'w') as archive:
        archive.add(tmp_path / 'in/pickle', '../../escaped')
    with pytest.raises(UserError, match='is no checkpoint'):
        load(tmp_path / 'old.pth')


STRANGE = {
    'a list': [1],
    'no weights': {'state_dict': {}, 'meta': 1},
    'numbers for names': {'state_dict': {1: torch.ones(1)}},
    'texts for weights': {'state_dict': {'w': 'text'}},
    'sparse': {'state_dict': {'w': torch.ones(2).to_sparse()}},
    'meta': {'state_dict': {'w': torch.ones(1)}, 'meta': 'text'},
}


@pytest.mark.parametrize('content', STRANGE.values(), ids=STRANGE)
def test_what_torch_wrote_and_is_no_checkpoint_is_refused(content, tmp_path):
    torch.save(content, tmp_path / 'a-01234567.pth')
    with pytest.raises(UserError, match='is no checkpoint'):
        read_checkpoint(tmp_path / 'a-01234567.pth')


# ----------------------------------------------------------------------------------------------------------------- NaN


def test_weights_that_are_no_numbers_are_named(trained, call, tmp_path):
    path, name = tmp_path / 'spoiled.pth', 'decode_head.conv_seg.bias'
    checkpoint = load(trained[1])
    checkpoint['state_dict'][name][1] = torch.nan
    torch.save(checkpoint, path)
    for words in TOOLS.values():
        said = call(*(word.format(config=trained[0], hostile=path) for word in words)).mistake
        assert f'error: {path} holds weights that are no numbers: there is NaN or infinity in {name}' in said, words


def test_a_mask_may_be_infinite_and_a_weight_may_not(model):
    model = copy.deepcopy(model)
    model.register_buffer('mask', torch.tensor([0.0, -torch.inf]))
    sound = copy.deepcopy(model.state_dict())
    check_weights(model, {'state_dict': sound}, 'w.pth')
    for name, value in (('mask', torch.nan), ('decode_head.conv_seg.bias', torch.inf)):
        weights = copy.deepcopy(sound)
        weights[name][0] = value
        with pytest.raises(UserError, match=f'NaN or infinity in {name}'):
            check_weights(model, {'state_dict': weights}, 'w.pth')
