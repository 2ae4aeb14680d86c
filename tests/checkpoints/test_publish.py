"""Published weights are the trained ones, to the bit; every tool takes them, and a damaged file is refused."""

import copy
import json
import re
import shutil
import sys
from pathlib import Path

import in_process
import pytest
import safetensors
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, init_model
from tiny_config import CLASSES, SR, write_config

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.config import load_config, prepare
from mmseg_sr.errors import UserError
from mmseg_sr.runs import launch

pytestmark = pytest.mark.usefixtures('fresh')
ENDINGS = ['.pth', '.safetensors']


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('a home')


@pytest.fixture(scope='module')
def trained(home) -> tuple[Path, Path]:
    """(config, checkpoint) of a model whose memory changes its predictions."""
    config = write_config(home, extra=SR)
    launch.train(load_config(config))
    path = home / 'work/tiny/iter_4.pth'
    checkpoint = torch.load(path, weights_only=False)
    torch.nn.init.normal_(checkpoint['state_dict']['backbone.layer3.sr.memory'])
    torch.save(checkpoint, path)
    return config, path


@pytest.fixture(scope='module')
def metrics(home, trained) -> Path:
    words = [*trained, '--metrics', home / 'metrics.json', '--work-dir', home / 'work/test']
    assert in_process.call('test', *words, folder=home).document
    return home / 'metrics.json'


@pytest.fixture(scope='module')
def published(home, trained, metrics) -> dict[str, Path]:
    """The published files by their ending."""
    words = [trained[1], '--out', home / 'out', '--metrics', metrics, '--name', 'tiny-sr']
    files = in_process.call('publish_model', *words, folder=home).document
    return {f'.{ending}': Path(file['path']) for ending, file in files.items()}


def same_weights(first: dict, second: dict) -> bool:
    same = (torch.equal(value, second[key]) and value.dtype == second[key].dtype for key, value in first.items())
    return first.keys() == second.keys() and all(same)


# ------------------------------------------------------------------------------------------------------- what is in it


@pytest.mark.parametrize('ending', ENDINGS)
def test_it_has_the_trained_weights_and_nothing_of_the_training(ending, trained, published):
    checkpoint, source = read_checkpoint(published[ending]), read_checkpoint(trained[1])
    assert checkpoint.keys() == {'meta', 'state_dict'} and {'optimizer', 'message_hub'} <= source.keys()
    assert same_weights(checkpoint['state_dict'], source['state_dict'])
    assert any('running_mean' in key for key in checkpoint['state_dict'])


@pytest.mark.parametrize('ending', ENDINGS)
def test_it_tells_where_it_comes_from(ending, trained, metrics, published):
    meta = read_checkpoint(published[ending])['meta']
    assert meta['dataset_meta'] == {'classes': list(CLASSES), 'palette': [[0], [80], [160], [240]]}
    assert meta['metrics'] == json.loads(metrics.read_text())['metrics'] and meta['metrics']['IoU.train'] is None
    assert meta['versions'].keys() == {'mmseg_sr', 'torch', 'mmengine', 'mmcv', 'mmseg'}
    assert meta['iter'] == 4
    theirs, ours = Config.fromstring(meta['cfg'], '.py'), prepare(load_config(trained[0]))
    assert theirs.model == ours.model and theirs.train_dataloader == ours.train_dataloader
    assert not {'work_dir', 'load_from', 'resume'} & theirs.keys(), 'nothing of one machine'


def test_the_header_of_the_safetensors_is_texts(published):
    with safetensors.safe_open(published['.safetensors'], framework='np') as file:
        texts = file.metadata()
    assert all(isinstance(text, str) for text in texts.values())
    assert json.loads(texts['dataset_meta'])['classes'] == list(CLASSES)
    assert texts['cfg'].startswith(('crop_size', 'custom_imports')) and texts['format'] == 'pt'


def test_published_again_the_bytes_are_the_same(home, trained, metrics, published, call):
    before = {path.name: path.read_bytes() for path in published.values()}
    words = [trained[1], '--metrics', metrics, '--name', 'tiny-sr', '--out']
    program = [sys.executable, in_process.find('publish_model')]
    assert in_process.command(*program, *words, home / 'again', PYTHONHASHSEED='1').status == 0
    assert call('publish_model', *words, home / 'out')[0] == 0, 'where they are already'
    for place in (home / 'again', home / 'out'):
        assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_the_name_is_the_configs_where_none_is_given(trained, call, tmp_path):
    for words in ([], ['--config', trained[0]]):
        assert call('publish_model', trained[1], '--out', tmp_path / 'out', *words)[0] == 0
        (file,) = (tmp_path / 'out').glob('tiny-????????.pth')
        assert re.fullmatch('[0-9a-f]{8}', file.stem.removeprefix('tiny-'))
        for path in (tmp_path / 'out').iterdir():
            path.unlink()


# ----------------------------------------------------------------------------------------------------- who can load it


@pytest.mark.parametrize('ending', ENDINGS)
def test_metrics_are_identical(ending, trained, metrics, published, call, tmp_path):
    found = call('test', trained[0], published[ending]).document
    assert found['metrics'] == json.loads(metrics.read_text())['metrics']


@pytest.mark.parametrize('ending', ENDINGS)
def test_tools_take_it(ending, trained, published, call, tmp_path):
    (config, source), weights = trained, published[ending]
    still = ['train_cfg.max_iters=1', 'train_cfg.val_interval=9', 'optim_wrapper.optimizer.lr=0.0']
    still += ['default_hooks.checkpoint.interval=1', f'load_from={weights}']
    status, _, errors = call('train', config, '--work-dir', tmp_path / 'work', '--cfg-options', *still)
    assert status == 0, errors
    parameters = read_checkpoint(source)['state_dict']
    started = read_checkpoint(tmp_path / 'work/iter_1.pth')['state_dict']
    moving = ('running_mean', 'running_var', 'num_batches_tracked')
    assert all(torch.equal(value, started[key]) for key, value in parameters.items() if not key.endswith(moving))
    for tool, words in (('visualize_sr', ['--num-images', 2, '--out', 'figures']), ('ablate', ['--num-val', 2])):
        status, _, errors = call(tool, config, weights, *words)
        assert status == 0, errors
    done = call('train', config, '--work-dir', tmp_path / 'work', '--resume', weights)
    assert 'has weights only and cannot be resumed' in done.mistake


@pytest.mark.parametrize('ending', ENDINGS)
def test_mmseg_takes_it(ending, trained, published):
    (config, source), weights = trained, str(published[ending])
    expected = read_checkpoint(source)['state_dict']
    models = [
        init_model(str(config), weights, device='cpu'),
        MMSegInferencer(str(config), weights=weights, device='cpu').model,
        MMSegInferencer(None, weights=weights, device='cpu').model,  # with the config in it
    ]
    for model in models:
        assert same_weights(model.state_dict(), expected)
        assert list(model.dataset_meta['classes']) == list(CLASSES)


@pytest.mark.parametrize('ending', ENDINGS)
def test_a_damaged_file_is_refused_by_its_name(ending, trained, published, tmp_path):
    content = bytearray(published[ending].read_bytes())
    # The largest weight's first bytes are in the middle of the file: torch itself would load them as they are.
    content[len(content) // 2] ^= 1
    damaged = tmp_path / published[ending].name
    damaged.write_bytes(content)
    message = {
        '.pth': 'is damaged or cut short',
        '.safetensors': r'is damaged or was renamed: its name says sha256 \w{8}',
    }
    with pytest.raises(UserError, match=message[ending]):
        read_checkpoint(damaged)
    if ending == '.safetensors':
        with pytest.raises(UserError, match='damaged'):
            init_model(str(trained[0]), str(damaged), device='cpu')
    renamed = shutil.copy(published[ending], tmp_path / f'tiny-sr-01234567{ending}')
    with pytest.raises(UserError, match=r'is damaged or was renamed: its name says sha256 01234567'):
        read_checkpoint(renamed)
    read_checkpoint(renamed.rename(tmp_path / f'unnamed{ending}'))
    torch.save({'state_dict': {'w': torch.ones(1)}}, tmp_path / 'mine-20261122.pth')
    read_checkpoint(tmp_path / 'mine-20261122.pth')  # a date


def test_a_foreign_safetensors_file_loads(tmp_path):
    safetensors.torch.save_file({'w': torch.ones(2)}, tmp_path / 'w.safetensors', {'cfg': '1', 'note': 'no JSON {'})
    checkpoint = read_checkpoint(tmp_path / 'w.safetensors')
    assert checkpoint['meta'] == {'cfg': '1', 'note': 'no JSON {'} and checkpoint['state_dict']['w'].tolist() == [1, 1]
    names = [f'w{index:02}' for index in range(30)]
    safetensors.torch.save_file({name: torch.ones(2) for name in names}, tmp_path / 'many.safetensors')
    read = read_checkpoint(tmp_path / 'many.safetensors')['state_dict']
    assert list(read) == names, 'what is published of it is the same, byte for byte'
    (tmp_path / 'broken.safetensors').write_bytes(b'no weights')
    with pytest.raises(UserError, match='is no checkpoint'):
        read_checkpoint(tmp_path / 'broken.safetensors')


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_mistakes_are_one_line_and_leave_nothing(home, trained, call, tmp_path):
    config, checkpoint = trained
    document = torch.load(checkpoint, weights_only=False)
    for name, change in (('none', dict(meta={})), ('broken', dict(meta=dict(cfg='model = ('))), ('list', None)):
        torch.save([1] if change is None else {**document, **change}, tmp_path / f'{name}.pth')
    (tmp_path / 'metrics.json').write_text('{"mIoU": 1}')
    other = write_config(home, 'other.py', SR.replace('hidden_channels=4', 'hidden_channels=5'))
    out = tmp_path / 'out'
    mistakes = {
        'no such checkpoint': [tmp_path / 'void.pth', '--out', out],
        'there are no weights in it': [tmp_path / 'list.pth', '--out', out],
        'has no config in it: name one by --config': [tmp_path / 'none.pth', '--out', out],
        'the config in the checkpoint is none': [tmp_path / 'broken.pth', '--out', out],
        'set hidden_channels=4': [checkpoint, '--out', out, '--config', other],
        'no such config': [checkpoint, '--out', out, '--config', tmp_path / 'void.py'],
        'a name takes': [checkpoint, '--out', out, '--name', 'a/b'],
        '--metrics takes': [checkpoint, '--out', out, '--metrics', tmp_path / 'metrics.json'],
        '--out needs a folder': [checkpoint, '--out', config],
    }
    for words, arguments in mistakes.items():
        assert words in call('publish_model', *arguments).mistake
        assert not out.exists(), words


def test_other_weights_under_the_same_name_are_refused(trained, call, tmp_path):
    checkpoint = torch.load(trained[1], weights_only=False)
    assert call('publish_model', trained[1], '--out', tmp_path / 'out', '--name', 'a')[0] == 0
    before = sorted((tmp_path / 'out').iterdir())
    other = copy.deepcopy(checkpoint)
    other['state_dict']['backbone.layer3.sr.memory'] += 1
    torch.save(other, tmp_path / 'other.pth')
    done = call('publish_model', tmp_path / 'other.pth', '--out', tmp_path / 'out', '--name', 'a')
    assert 'has other weights of this name' in done.mistake
    assert sorted((tmp_path / 'out').iterdir()) == before
    assert call('publish_model', tmp_path / 'other.pth', '--out', tmp_path / 'out', '--name', 'a-b')[0] == 0


def test_the_config_in_a_checkpoint_is_not_run(trained, call, tmp_path):
    checkpoint = torch.load(trained[1], weights_only=False)
    checkpoint['meta']['cfg'] = f"open({str(tmp_path / 'run')!r}, 'w')\nwork_dir = (\n    'here')\nmodel = dict()\n"
    torch.save(checkpoint, tmp_path / 'evil.pth')
    assert call('publish_model', tmp_path / 'evil.pth', '--out', tmp_path / 'out')[0] == 0
    assert not (tmp_path / 'run').exists()
    (path,) = (tmp_path / 'out').glob('*.pth')
    assert [line[:5] for line in read_checkpoint(path)['meta']['cfg'].splitlines()] == ['open(', 'model']
