"""The weights in checkpoints/ reach, on this machine, what the model index says of them."""

import json
import re
import shlex
from pathlib import Path

import numpy
import PIL
import pytest
import yaml
from drawn_streets import make_mini_cityscapes

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.provenance import pixels_sha256

ROOT = Path(__file__).resolve().parents[2]
RELEASED = json.loads((ROOT / 'results/released.json').read_text())
METAFILE = yaml.safe_load((ROOT / 'configs/mini_cityscapes/metafile.yaml').read_text())
LIMIT = 4e6  # bytes of a file


def entry(model: dict) -> dict:
    """The model index's entry of a released model."""
    (found,) = [entry for entry in METAFILE['Models'] if entry['Config'] == model['config']]
    return found


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Mini-Cityscapes as it is drawn by default, whose val frames must be those of the release."""
    folder = tmp_path_factory.mktemp('data') / 'mini'
    make_mini_cityscapes(folder)
    digests = {
        'val_images_sha256': pixels_sha256(folder / 'leftImg8bit/val'),
        'val_labels_sha256': pixels_sha256(folder / 'gtFine/val', '**/*_labelTrainIds.png'),
    }
    differ = [name for name, digest in digests.items() if digest != RELEASED['data'][name]]
    assert not differ, (
        f'THE DATA DIFFER ({", ".join(differ)}): numpy {numpy.__version__} or pillow {PIL.__version__} draws other '
        'streets than those of the release, so its metrics say nothing here. Run make released'
    )
    return folder


@pytest.mark.parametrize('model', RELEASED['models'], ids=lambda model: Path(model['config']).stem)
def test_the_command_gives_the_index_s_numbers(model, data, call, tmp_path, monkeypatch):
    monkeypatch.setenv('MINI_CITYSCAPES_ROOT', str(data))
    done = call('test', ROOT / model['config'], ROOT / model['weights'], '--work-dir', tmp_path)
    metrics = done.document['metrics']
    (result,) = entry(model)['Results']
    for name, number in result['Metrics'].items():
        # Two digits, so that a processor on which a pixel falls to another class does no harm. Here none does: float64,
        # two threads, another memory layout and other kernels predict the same for every pixel.
        assert number == round(metrics[name], 2) == round(model['metrics'][name], 2), name


def test_the_memory_of_the_scene_matters(data, call, tmp_path, monkeypatch):
    monkeypatch.setenv('MINI_CITYSCAPES_ROOT', str(data))
    (model,) = [model for model in RELEASED['models'] if '-scene-' in model['config']]
    done = call('test', ROOT / model['config'], ROOT / model['weights'], '--work-dir', tmp_path, '--without-sr')
    for name in ('mIoU', 'mAcc'):
        assert round(done.document['metrics'][name], 2) == round(model['without_sr'][name], 2) < model['metrics'][name]


def test_it_is_what_figures_are_drawn_of_where_no_network_is_named(data, call, tmp_path, monkeypatch):
    monkeypatch.setenv('MINI_CITYSCAPES_ROOT', str(data))
    few = ['--num-images', 2, '--pictures', 1, '--dpi', 20]
    done = call('visualize_sr', *few, '--out', tmp_path / 'out')
    (block,) = done.document['blocks'].values()
    assert max(block['flips']) > 0.1, 'without a memory block the picture is another one'
    assert 'needs a CHECKPOINT' in call('visualize_sr', ROOT / RELEASED['models'][0]['config'], *few).mistake


def test_weights_index_and_record_name_each_other():
    files = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / 'checkpoints').iterdir()}
    assert files.keys() == {model['weights'] for model in RELEASED['models']} and len(files) == 3
    assert [entry['Config'] for entry in METAFILE['Models'] if 'Weights' in entry] == sorted(
        model['config'] for model in RELEASED['models']
    )
    for model in RELEASED['models']:
        path = files[model['weights']]
        assert entry(model)['Weights'] == f'mmseg_sr://{model["weights"]}' and entry(model)['Results'][0]['Source']
        assert path.stat().st_size == model['bytes'] < LIMIT
        assert f'-{model["sha256"][:8]}.' in path.name
        meta = read_checkpoint(path)['meta']  # compares the sha256 too
        assert meta['metrics'] == model['metrics'] and meta['iter'] == model['iterations']
        assert not re.search(r"= '/|'/\w", meta['cfg']), 'no place of one machine'


def test_the_readme_evaluates_them_by_one_command():
    blocks = re.findall(r'^```bash\n(.*?)^```', (ROOT / 'README.md').read_text(), re.M | re.S)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    named = {model['weights']: model['config'] for model in RELEASED['models']}
    found = [line for line in lines if named.keys() & set(line)]
    assert found, 'a command with released weights'
    for line in found:
        (weights,) = named.keys() & set(line)
        assert named[weights] == line[line.index(weights) - 1]
