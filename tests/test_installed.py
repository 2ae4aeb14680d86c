"""Configs, models and weights by name, from a wheel as from a checkout; nothing is installed along the way."""

import re
import shutil
import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from in_process import python
from mmengine import Config, hub
from mmengine.infer import BaseInferencer
from mmengine.utils import package_utils
from mmseg.apis import MMSegInferencer, inference_model, init_model
from PIL import Image
from tiny_config import write_images
from written import PAGES

import mmseg_sr
from mmseg_sr.errors import UserError
from mmseg_sr.runs.launch import train

RELEASED = 'fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256'
MINI = f'mini_cityscapes/{RELEASED}.py'
CITYSCAPES = 'fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024'
STOCK = 'deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024'  # mmseg has a model of this name too

pytestmark = pytest.mark.usefixtures('fresh', 'no_pip')


@pytest.fixture
def no_pip(monkeypatch) -> None:
    """mmengine's way to pip is closed."""

    def refuse(command: list) -> None:
        raise AssertionError(f'mmengine ran {command}')

    monkeypatch.setattr(package_utils, 'call_command', refuse)


def without_scope(value: object) -> object:
    """A config's values without the scope that mmengine marks those of a base with."""
    if isinstance(value, dict):
        return {key: without_scope(item) for key, item in value.items() if key != '_scope_'}
    return [without_scope(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_every_config_is_a_base_by_name_and_the_same(root, tmp_path):
    paths = sorted(root.glob('configs/[!_]*/*.py'))
    assert len(paths) > 20
    for path in paths:
        (tmp_path / 'mine.py').write_text(f"_base_ = 'mmseg_sr::{path.relative_to(root / 'configs')}'\n")
        mine = Config.fromfile(tmp_path / 'mine.py')
        assert without_scope(mine.to_dict()) == without_scope(Config.fromfile(path).to_dict()), path


def test_a_network_with_such_a_base_trains_and_finds_all_that_it_names(tmp_path, capfd):
    write_images(tmp_path / 'data', count=2)
    (tmp_path / 'mine.py').write_text(
        f"_base_ = 'mmseg_sr::{MINI}'\n"
        "data = dict(_delete_=True, type='BaseSegDataset', data_root='data', img_suffix='.png',\n"
        "            data_prefix=dict(img_path='img', seg_map_path='ann'), pipeline=_base_.train_pipeline,\n"
        "            metainfo=dict(classes=('a', 'b', 'c'), palette=[[0], [80], [160]]))\n"
        'train_dataloader = dict(batch_size=2, dataset=data)\n'
        'val_dataloader = dict(dataset=dict(data, pipeline=_base_.test_pipeline))\n'
        'train_cfg = dict(max_iters=1, val_interval=1)\n'
        f'work_dir = {str(tmp_path)!r}\n'
    )
    cfg = Config.fromfile(tmp_path / 'mine.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = str(tmp_path / 'data')
    assert cfg.model._scope_ == 'mmseg_sr'
    runner = train(cfg)
    assert runner.iter == 1 and runner.model.backbone.layer3.sr.memory.abs().sum() > 0
    said = capfd.readouterr()
    assert 'Failed to search registry' not in said.out + said.err


@pytest.mark.parametrize('scope', [{}, {'scope': 'mmseg_sr'}], ids=['mmseg', 'mmseg_sr'])
def test_a_model_by_name_predicts_what_its_config_and_file_do(root, scope):
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3)).astype(np.uint8)
    inferencer = MMSegInferencer(RELEASED, device='cpu', show_progress=False, **scope)
    (weights,) = root.glob(f'checkpoints/{RELEASED}-*.safetensors')
    expected = inference_model(init_model(root / 'configs' / MINI, str(weights), device='cpu'), image)
    predicted = inferencer(image)['predictions']
    assert len(np.unique(predicted)) > 1
    assert np.array_equal(predicted, expected.pred_sem_seg.data[0].numpy())


def test_models_without_released_weights_take_a_file_and_say_so_without(tmp_path):
    with pytest.raises(UserError, match=f'no weights of {CITYSCAPES}.*weights=FILE.*{RELEASED}'):
        MMSegInferencer(CITYSCAPES, device='cpu')
    model = hub.get_model(f'mmseg_sr::fcn/{CITYSCAPES}.py')
    torch.nn.init.constant_(model.backbone.layer3.sr.memory, 0.5)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'mine.pth')
    inferencer = MMSegInferencer(CITYSCAPES, weights=str(tmp_path / 'mine.pth'), device='cpu')
    assert inferencer.model.backbone.layer3.sr.memory.eq(0.5).all()


def test_the_list_is_that_of_the_metafiles_and_hides_no_model_of_mmseg(root):
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    metafiles = [yaml.safe_load((root / name).read_text()) for name in index['Import']]
    names = [model['Name'] for metafile in metafiles for model in metafile['Models']]
    assert MMSegInferencer.list_models('mmseg_sr') == names
    listed = MMSegInferencer.list_models('mmseg')
    assert set(names) < set(listed) and STOCK in names and listed.count(STOCK) == 1
    folder = BaseInferencer._get_repo_or_mim_dir('mmseg')
    (found,) = [model for model in BaseInferencer._get_models_from_metafile(folder) if model['Name'] == STOCK]
    assert Path(folder, found['Config']).is_relative_to(folder)


def test_the_hub_gives_configs_and_models_of_both_packages():
    cfg = hub.get_config(f'mmseg_sr::{MINI}', pretrained=True)
    assert cfg.model_path.startswith('mmseg_sr://') and cfg.model.backbone.type == 'SRBackbone'
    model = hub.get_model(f'mmseg_sr::{MINI}', pretrained=True)
    assert model.backbone.layer3.sr.memory.abs().sum() > 0
    assert hub.get_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py').model.backbone.type == 'ResNetV1c'
    with pytest.raises(FileNotFoundError, match='none.py'):
        hub.get_config('mmseg_sr::fcn/none.py')


def test_before_the_import_mmengine_says_what_the_readme_explains(tmp_path):
    (tmp_path / 'mine.py').write_text(f"_base_ = 'mmseg_sr::{MINI}'\n")
    program = "from mmengine import Config; Config.fromfile('mine.py')"
    said = python('-c', program, cwd=tmp_path, check=False).err
    assert said.splitlines()[-1] == 'AssertionError: mmengine does not support to load mmseg_sr config.'


@pytest.fixture(scope='module')
def tracked(root) -> list[str]:
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'], cwd=root, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip('not a git checkout')
    return [name for name in listed.stdout.splitlines() if (root / name).is_file()]


@pytest.fixture(scope='module')
def built(root, tracked, tmp_path_factory) -> Path:
    """The sdist, and the wheel made of it, in a folder."""
    folder = tmp_path_factory.mktemp('built')
    for name in tracked:
        (folder / 'clone' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, folder / 'clone' / name)
    python('-m', 'build', '--no-isolation', '--outdir', folder / 'dist', folder / 'clone')
    return folder / 'dist'


@pytest.fixture(scope='module')
def wheel(built) -> zipfile.ZipFile:
    (path,) = built.glob('mmseg_sr-*.whl')
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_source_distribution_is_the_checkout(built, tracked):
    (path,) = built.glob('mmseg_sr-*.tar.gz')
    shutil.unpack_archive(path, built / 'source')  # our own; filter= came with Python 3.10.12 and 3.11.4
    (source,) = (built / 'source').iterdir()
    files = {path.relative_to(source).as_posix() for path in source.rglob('*') if path.is_file()}
    made = {name for name in files if name in ('PKG-INFO', 'setup.cfg') or name.startswith('mmseg_sr.egg-info/')}
    assert files - made == set(tracked)


def test_the_wheel_has_what_mmengine_and_mim_look_for_and_no_more(wheel, tracked):
    info = f'mmseg_sr-{mmseg_sr.__version__}.dist-info'
    held = {name for name in tracked if name.partition('/')[0] in ('configs', 'tools')}
    assert len(held) > 40
    shipped = held | {name for name in tracked if name.partition('/')[0] in ('checkpoints', 'experiments')}
    shipped |= {'model-index.yml'}
    names = {name for name in wheel.namelist() if not name.endswith('/')}
    # onedl-mim takes the folder of the first file on pip's sorted list for the package's: it must be one with .mim.
    assert min([*names, '../../../bin/mmseg-sr']).startswith('+mmseg_sr/.mim/')
    searched = {f'+mmseg_sr/.mim/{name}' for name in held | {'model-index.yml'}}
    assert {name for name in names if name.startswith('+mmseg_sr/')} == searched
    code = {name for name in tracked if name.startswith('mmseg_sr/')}
    command = f'mmseg_sr-{mmseg_sr.__version__}.data/scripts/mmseg-sr'
    assert {name for name in names if not name.startswith((info, '+mmseg_sr'))} == {command} | code | {
        f'mmseg_sr/.mim/{name}' for name in shipped
    }
    for script in ('dist_train.sh', 'slurm_test.sh'):
        assert wheel.getinfo(f'mmseg_sr/.mim/tools/{script}').external_attr >> 16 & 0o100, 'to be run'


def test_the_metadata_are_complete_and_the_version_is_that_of_the_package(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith('.dist-info/METADATA')]
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata['Version'] == mmseg_sr.__version__ and metadata['License-Expression'] == 'Apache-2.0'
    needed = ('Summary', 'Author', 'Keywords', 'Requires-Python', 'Description-Content-Type', 'Project-URL')
    assert all(metadata[field] for field in needed) and metadata.get_payload().startswith('# mmseg_sr')
    extras = PAGES['install'].partition('| extra |')[2].partition('## ')[0]
    assert set(re.findall(r'^\| `(\w+)` \|', extras, re.M)) == set(metadata.get_all('Provides-Extra'))


def test_what_the_wheel_holds_works_from_an_empty_folder(wheel, tmp_path):
    wheel.extractall(tmp_path / 'site')
    (tmp_path / 'empty').mkdir()
    program = (
        'import json, mmseg_sr\n'
        'from mmengine import hub\n'
        'from mmseg.apis import MMSegInferencer\n'
        'from mmseg_sr.experiments.plan import load\nfrom mmseg_sr.experiments.run import TOOLS\n'
        'from mmseg_sr.openmmlab import HOME\n'
        "plan = load(HOME / 'experiments/mini_cityscapes.yaml')\n"
        f"path = hub.get_config('mmseg_sr::{MINI}').filename\n"
        f"MMSegInferencer('{RELEASED}', device='cpu')\n"
        "count = len(MMSegInferencer.list_models('mmseg_sr'))\n"
        'print(json.dumps([path, str(TOOLS), [str(arm.config) for arm in plan.arms.values()], count]))\n'
    )
    done = python('-c', program, cwd=tmp_path / 'empty', PYTHONPATH=str(tmp_path / 'site'))
    config, tools, arms, count = done.document
    mim = tmp_path / 'site/mmseg_sr/.mim'
    assert Path(config).is_relative_to(mim) and Path(tools) == mim / 'tools' and count > 20
    assert arms and all(Path(arm).is_relative_to(mim) and Path(arm).is_file() for arm in arms)
    assert not list((tmp_path / 'empty').iterdir())
    (command,) = tmp_path.glob('site/*.data/scripts/mmseg-sr')
    Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(tmp_path / 'a.png')
    words = ('predict', f'mmseg_sr::{MINI}', RELEASED, tmp_path / 'a.png', '--out', 'predicted')
    done = python(command, *words, cwd=tmp_path / 'empty', PYTHONPATH=str(tmp_path / 'site'))
    assert done.document['written'] == 1 and (tmp_path / 'empty/predicted/labels/a.png').is_file()
