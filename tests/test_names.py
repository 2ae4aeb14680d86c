"""Configs and weights are found by the names of the model index wherever a file of them could be given."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from in_process import ROOT
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from PIL import Image

from mmseg_sr.checkpoints.loaders import check_local_weights
from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.experiments.plan import load
from mmseg_sr.names import find_checkpoint, find_config

NAME = 'fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256'
CONFIG = f'configs/mini_cityscapes/{NAME}.py'
(WEIGHTS,) = ROOT.glob(f'checkpoints/{NAME}-*.safetensors')
CITYSCAPES = 'fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024'


def test_every_model_of_the_index_is_a_config_and_the_released_are_weights():
    files = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    models = [model for file in files for model in yaml.safe_load((ROOT / file).read_text())['Models']]
    assert len(models) > 20
    for model in models:
        path = ROOT / model['Config']
        assert find_config(model['Name']) == find_config(f'mmseg_sr::{path.relative_to(ROOT / "configs")}') == path
        if 'Weights' in model:
            assert find_checkpoint(model['Name']) == ROOT / model['Weights'].removeprefix('mmseg_sr://')
        else:
            with pytest.raises(UserError, match=f'no weights of {model["Name"]}'):
                find_checkpoint(model['Name'])


def test_a_file_goes_before_a_name_and_an_address_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(NAME).write_text('x = 1')
    assert find_config(NAME) == Path(NAME) and find_checkpoint(NAME) == NAME
    assert find_checkpoint(f'mmseg_sr://checkpoints/{WEIGHTS.name}').startswith('mmseg_sr://')


def test_the_home_folder_is_known_in_a_config_as_mmengine_knows_it(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'w.pth').touch()
    assert find_checkpoint('~/w.pth') == tmp_path / 'w.pth'
    check_local_weights(Config(dict(model=dict(pretrained='~/w.pth'), load_from='~/w.pth')))


@pytest.mark.parametrize(
    ('find', 'name', 'nearest'),
    [
        (find_config, NAME.replace('2k', '3k'), NAME),
        (find_config, f'configs/mini_cityscapes/{NAME}_.py', NAME),
        (find_config, f'mmseg_sr::fcn/{CITYSCAPES}_.py', CITYSCAPES),
        (find_checkpoint, NAME[:-1], NAME),
    ],
)
def test_a_name_that_there_is_not_is_one_line_with_the_nearest(find, name, nearest):
    with pytest.raises(UserError) as error:
        find(name)
    said = str(error.value)
    assert name in said and f'The nearest names are {nearest}' in said and '\n' not in said


def test_configs_of_mmseg_are_found_and_wrong_ones_named():
    assert load_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py').model.backbone.type == 'ResNetV1c'
    for name in ('mmseg::fcn/none.py', 'nobody::fcn/none.py'):
        with pytest.raises(UserError, match='no such config: ' + name):
            find_config(name)


def test_tools_take_names(call, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / 'a.png')
    for out, network in (('names', (NAME, NAME)), ('mixed', (f'mmseg_sr::{CONFIG[8:]}', WEIGHTS))):
        done = call('predict', *network, 'a.png', '--out', out)
        assert json.loads(done.out)['written'] == 1, 'the log of mmengine is elsewhere'
    files = [(tmp_path / out / 'labels/a.png').read_bytes() for out in ('names', 'mixed')]
    assert files[0] == files[1] and len(np.unique(Image.open(tmp_path / 'names/labels/a.png'))) > 1
    (told,) = call('inspect_checkpoint', NAME).document.values()
    assert told['bytes'] == WEIGHTS.stat().st_size
    scores = {'mIoU': 1.0, 'mAcc': 2.0, 'aAcc': 3.0}
    for tested in (NAME, str(WEIGHTS)):
        Path('m.json').write_text(json.dumps({'checkpoint': tested, 'mode': 'single-scale', 'metrics': scores}))
        done = call(
            'report_page', NAME, NAME, '--metrics', 'm.json', '--pictures', 0, '--num-images', 0, '--out', 'r.html'
        )
        assert Path('r.html').stat().st_size == done.document['bytes']
    assert NAME in call('test', NAME[:-1], NAME).mistake and NAME in call('inspect_checkpoint', NAME[:-1]).mistake


def test_a_training_starts_from_a_name_and_an_experiment_has_one(tmp_path):
    theirs, ours = CheckpointLoader.load_checkpoint(NAME)['state_dict'], read_checkpoint(WEIGHTS)['state_dict']
    assert theirs.keys() == ours.keys() and all(theirs[key].equal(ours[key]) for key in ours)
    (tmp_path / 'a.yaml').write_text(f'name: a\nbaseline: a\nseeds: [0]\narms: {{a: {{config: {NAME}}}}}\n')
    assert load(tmp_path / 'a.yaml').arms['a'].config == ROOT / CONFIG
    (tmp_path / 'a.yaml').write_text(f'name: a\nbaseline: a\nseeds: [0]\narms: {{a: {{config: {NAME}_}}}}\n')
    with pytest.raises(UserError, match=f'arms.a: no such config: {NAME}_. The nearest names are {NAME} '):
        load(tmp_path / 'a.yaml')
