"""Training and testing as a user starts them: the tools, the Runner behind them, and what they say to mistakes."""

import argparse
import copy
import importlib
import json
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import ROOT, command
from mmengine.config import Config, DictAction
from PIL import Image
from tiny_config import CLASSES, SR, write_config

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.checkpoints.weights import check_weights
from mmseg_sr.config import load_config, prepare
from mmseg_sr.errors import UserError
from mmseg_sr.options import read_options
from mmseg_sr.processes import first_process_speaks, process_group
from mmseg_sr.runs import launch
from mmseg_sr.runs.models import build_model

pytestmark = pytest.mark.usefixtures('fresh')


def last_validation(work_dir: Path) -> dict:
    scalars = next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [row for row in map(json.loads, scalars) if 'mIoU' in row][-1]


def same(metrics: dict, others: dict) -> bool:
    """Equal, where JSON's null and Python's NaN are the same."""
    numbers = [{key: math.nan if value is None else value for key, value in each.items()} for each in (metrics, others)]
    return numbers[0].keys() == numbers[1].keys() and np.array_equal(*map(list, map(dict.values, numbers)), True)


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with a space in its name, for everything that these tests write."""
    return tmp_path_factory.mktemp('a home')


@pytest.fixture(scope='module')
def trained(home) -> tuple[Path, Path]:
    """(config, checkpoint) of a model that tools/train.py has trained."""
    config = write_config(home)
    done = command(sys.executable, ROOT / 'tools/train.py', config, '--seed', 1, '--deterministic', cwd=home)
    assert done.status == 0, done.err
    assert done.out.count('SyncBN runs as BN') == 1
    saved = str(home / 'work/tiny/iter_4.pth')
    assert done.err.splitlines()[-1] == f'4 iterations trained; the last checkpoint is {saved}'
    assert (done.document['iterations'], done.document['checkpoint']) == (4, saved)
    written = Config.fromfile(home / 'work/tiny/tiny.py')
    assert written.randomness == dict(seed=1, deterministic=True)
    return config, home / 'work/tiny/iter_4.pth'


@pytest.fixture(scope='module')
def tested(home, trained) -> dict:
    """The JSON document of tools/test.py for that model."""
    words = ['--metrics', home / 'numbers/one.json', '--out', home / 'out', '--show-dir', home / 'show']
    program = [sys.executable, ROOT / 'tools/test.py', *trained, '--work-dir', home / 'work/test']
    done = command(*program, *words, cwd=home)
    document, (miou, macc) = done.document, (done.document['metrics'][name] for name in ('mIoU', 'mAcc'))
    assert document == json.loads((home / 'numbers/one.json').read_text())
    files = f'metrics in {home / "numbers/one.json"}; predictions in {home / "out"}; drawings in {home / "show"}'
    assert done.err.splitlines()[-1] == f'mIoU {miou:.2f}, mAcc {macc:.2f}; {files}'
    return document


# ---------------------------------------------------------------------------------------------------- one process


def test_a_checkpoint_tests_as_it_validated(home, tested):
    metrics = tested['metrics']
    validated = last_validation(home / 'work/tiny')
    assert metrics.keys() == {'mIoU', 'mAcc', 'aAcc', *(f'IoU.{name}' for name in CLASSES)}
    assert same(metrics, {key: validated[key] for key in metrics})
    assert metrics['IoU.train'] is None
    assert 0 < metrics['mIoU'] < 100 and metrics['mIoU'] != round(metrics['mIoU'], 2)
    assert (tested['mode'], tested['inference']) == ('single-scale', 'whole')
    assert tested['versions'].keys() == {'mmseg_sr', 'torch', 'mmengine', 'mmcv', 'mmseg'}
    assert tested['seconds'] > 0


def test_written_predictions_are_class_ids_that_give_the_metrics(home, tested):
    images = sorted((home / 'out').glob('*.png'))
    assert [image.name for image in images] == [f'{index}.png' for index in range(5)]
    assert len(list((home / 'show').rglob('test_*.png'))) == 5 == len(list((home / 'show').rglob('*.png'))) - 1
    predicted = np.stack([np.array(Image.open(image)) for image in images])
    truth = np.stack([np.array(Image.open(home / 'data/ann' / image.name)) for image in images])
    predicted, truth = predicted[truth != 255], truth[truth != 255]
    for index, name in enumerate(CLASSES[:3]):
        union = ((predicted == index) | (truth == index)).sum()
        hits = ((predicted == index) & (truth == index)).sum()
        assert tested['metrics'][f'IoU.{name}'] == pytest.approx(100 * hits / union, abs=1e-9)


def test_resume_goes_on_as_if_there_had_been_no_stop(home, call):
    config = write_config(home, 'resumed.py', "default_hooks['checkpoint']['interval'] = 3\n")
    half, whole = home / 'work/half', home / 'work/whole'

    def train(work: Path, iterations: int, *more: object) -> None:
        limits = (f'train_cfg.max_iters={iterations}', 'train_cfg.val_interval=9')
        assert call('train', config, '--work-dir', work, '--cfg-options', *limits, *more)[0] == 0

    train(whole, 6)
    train(half, 3, '--resume')  # there is nothing to resume from yet: a job that is started again and again says so
    # A load_from in the config is for the first start: --resume must not take it for the last checkpoint.
    train(half, 6, f'load_from={whole / "iter_6.pth"}', '--resume')
    assert_same_weights(half / 'iter_6.pth', whole / 'iter_6.pth')
    (half / 'iter_6.pth').unlink()
    train(half, 6, '--resume', half / 'iter_3.pth')
    assert_same_weights(half / 'iter_6.pth', whole / 'iter_6.pth')


def test_a_schedule_that_was_changed_for_a_resumed_training_is_said_to_be_the_old_one(home, call):
    poly = "param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=4, by_epoch=False)]\n"
    work = ['--work-dir', home / 'work/schedule', '--resume']

    def train(text: str) -> str:
        done = call('train', write_config(home, 'schedule.py', text), *work)
        assert done.status == 0, done.err
        return done.out

    poly = poly.replace(')]', "), dict(type='LinearMomentum', start_factor=0.5, begin=0, end=9, by_epoch=False)]")
    assert 'Kept from' not in train(poly)
    assert 'Kept from' not in train(poly + "train_cfg['max_iters'] = 5\n")
    changed = poly.replace('end=4', 'end=6').replace('1e-4', '2e-4') + "train_cfg['max_iters'] = 6\n"
    said = train(changed + "optim_wrapper['optimizer']['momentum'] = 0.8\n")
    (line,) = [line for line in said.splitlines() if 'Kept from the checkpoint' in line]
    for words in ('PolyLR.end 4 (config: 6)', 'PolyLR.eta_min 0.0001 (config: 0.0002)', 'momentum 0.9 (config: 0.8)'):
        assert words in line


def assert_same_weights(first: Path, second: Path) -> None:
    weights, others = (read_checkpoint(path)['state_dict'] for path in (first, second))
    assert weights.keys() == others.keys() and len(weights) > 50
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name


def test_quoted_text_in_an_option_is_no_number():
    given = read_options(["data.drives=['0016E5','12']", "name='1e3'", 'size=(2,3)', 'lr=1e-3'])
    assert given == {'data.drives': ['0016E5', '12'], 'name': '1e3', 'size': (2, 3), 'lr': 1e-3}


def test_tta(home, trained, tested, call):
    config, checkpoint = trained
    augmented = call('test', config, checkpoint, '--tta').document
    assert augmented['mode'] == 'multi-scale + flip'
    assert augmented['metrics'].keys() == tested['metrics'].keys()
    assert not same(augmented['metrics'], tested['metrics'])
    plain = load_config(config)
    plain.tta_pipeline[1].transforms[0] = [dict(type='Resize', scale_factor=1.0, keep_ratio=True)]
    plain.tta_pipeline[1].transforms[1] = [dict(type='RandomFlip', prob=0.0)]
    assert same(launch.test(plain, checkpoint, tta=True), tested['metrics']), 'one view: as without augmentation'


# ------------------------------------------------------------------------------------------------ several processes


def test_two_processes_train_and_test_as_one(home, trained, tested):
    config, checkpoint = trained
    folder = home / 'elsewhere'
    folder.mkdir()
    done = command(ROOT / 'tools/dist_train.sh', config, 2, '--work-dir', home / 'work/two', cwd=folder)
    assert done.status == 0, done.err
    assert (home / 'work/two/iter_4.pth').is_file()
    assert 'destroy_process_group' not in done.err

    report = home / 'two.json'
    done = command(ROOT / 'tools/dist_test.sh', config, checkpoint, 2, '--metrics', report, cwd=folder)
    assert done.status == 0, done.err
    assert '[3/3]' in done.out, 'five images, two processes: three each'
    assert same(json.loads(report.read_text())['metrics'], tested['metrics'])
    assert done.document == json.loads(report.read_text())
    assert not list(folder.iterdir()), 'nothing is left where it was started'


def test_in_several_processes_the_first_one_speaks(home):
    done = command(ROOT / 'tools/dist_train.sh', home / 'none.py', 2, cwd=home)
    assert done.status != 0
    assert re.search(r'exitcode *: 2\b', done.err), done.err
    assert re.findall('^error: .*', done.err, re.M) == [f'error: no such config: {home / "none.py"}']


def test_another_process_speaks_up_when_the_mistake_is_its_own(monkeypatch):
    def main():
        raise UserError('no data here')

    monkeypatch.setenv('RANK', '3')
    with pytest.raises(UserError, match='^process 3: no data here'):
        first_process_speaks(main, patience=0)()
    monkeypatch.setenv('RANK', '0')
    with pytest.raises(UserError, match='^no data here'):
        first_process_speaks(main, patience=1000)()


def test_processes_with_gpus_join_as_mmengines_runner_does(monkeypatch):
    joined = []
    for name, value in {'RANK': '0', 'LOCAL_RANK': '0'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr('mmseg_sr.processes.get_device', lambda: 'cuda')
    monkeypatch.setattr('mmseg_sr.processes.init_dist', lambda *words, **options: joined.append((words, options)))
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with process_group(Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=9))))):
        assert joined == [(('pytorch',), dict(backend='nccl', timeout=9))]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv('RANK', '5')
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr('mmseg_sr.processes.get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(UserError, match='more processes on this machine than its 1 GPUs'):
        with process_group(Config(dict(launcher='pytorch'))):
            pass


@pytest.mark.parametrize('asked', [dict(runner_type='FlexibleRunner'), dict(strategy=dict(type='FSDPStrategy'))])
def test_another_runner_is_refused(asked):
    with pytest.raises(UserError, match="the tools run mmengine's Runner.* leave out runner_type and strategy"):
        prepare(Config(asked))


def test_syncbn_becomes_bn_wherever_it_stands():
    deep = dict(a=[dict(b=(dict(norm_cfg=dict(type='SyncBN', eps=1)),))], type='SyncBN', name='SyncBN')
    cfg = Config(dict(model=deep, norm_cfg=dict(type='SyncBN'), launcher='pytorch', sync_bn='torch'))
    before = copy.deepcopy(cfg.to_dict())
    ready = prepare(cfg)
    assert cfg.to_dict() == before
    assert ready.model.a[0].b[0].norm_cfg == dict(type='BN', eps=1)
    assert (ready.model.type, ready.model.name, ready.norm_cfg.type, ready.sync_bn) == ('BN', 'SyncBN', 'BN', None)
    assert ready.model_wrapper_cfg.device_ids is None and ready.model_wrapper_cfg.broadcast_buffers is False


def test_a_preprocessor_beside_the_model_is_the_models_for_every_tool(home, trained, call):
    """As in mmpretrain's configs. mmengine's Runner knows it, but not the network in a test-time augmentation."""
    beside = write_config(home, 'beside.py', "data_preprocessor = model.pop('data_preprocessor')\n")
    assert build_model(load_config(beside)).data_preprocessor.mean.flatten().tolist() == [127.5] * 3
    for options in ([], ['--tta']):
        numbers = [call('test', config, trained[1], *options).document['metrics'] for config in (trained[0], beside)]
        assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ('name', 'files'),
    [('train', ['my config.py']), ('test', ['my config.py', 'my weights.pth'])],
    ids=['train', 'test'],
)
def test_slurm_scripts_hand_everything_on(tmp_path, name, files):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    script = ROOT / f'tools/slurm_{name}.sh'
    options = {
        'GPUS': '8',
        'GPUS_PER_NODE': '2',
        'SRUN_ARGS': '--time=1:00 --qos=low',
        'PATH': f'{tmp_path}{os.pathsep}{os.environ["PATH"]}',
    }
    done = command(script, 'part', 'job', *files, '--work-dir', 'a b', cwd=tmp_path, **options)
    assert done.status == 0, done.err
    words = done.out.splitlines()
    expected = [str(ROOT / f'tools/{name}.py'), *files, '--work-dir', 'a b', '--launcher', 'slurm']
    assert words[-len(expected) :] == expected
    assert {'part', '--job-name=job', '--ntasks=8', '--ntasks-per-node=2', '--time=1:00', '--qos=low'} <= set(words)
    assert command(script, 'part', cwd=tmp_path).status == 2


def test_shell_scripts_are_executable_and_say_their_usage(tmp_path):
    scripts = sorted((ROOT / 'tools').glob('*.sh'))
    assert len(scripts) >= 4
    for script in scripts:
        assert os.access(script, os.X_OK), script
        done = command(script, 'config.py', cwd=tmp_path)
        assert (done.status, done.err.startswith('usage:')) == (2, True), script


# ------------------------------------------------------------------------------------------------------- checkpoints


def test_a_stock_checkpoint_makes_an_sr_model_the_stock_one(home, trained, tested, capfd):
    _, checkpoint = trained
    cfg = load_config(write_config(home, 'sr.py', SR))
    before = cfg.pretty_text
    assert same(launch.test(cfg, checkpoint), tested['metrics'])
    assert cfg.pretty_text == before, "the caller's config stays as it was"
    assert 'has no weights of backbone.layer3.sr: identity' in capfd.readouterr().out


@pytest.fixture
def model(home):
    cfg = prepare(load_config(write_config(home, 'sr.py', SR)))
    return build_model(cfg)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda w: w.pop('backbone.conv1.weight'), 'backbone.conv1.weight missing'),
        (lambda w: w.update({'backbone.conv9.weight': torch.zeros(1)}), 'backbone.conv9.weight not in it'),
        (lambda w: w.update({'decode_head.conv_seg.weight': torch.zeros(19, 8, 1, 1)}), 'decode_head.conv_seg.weight'),
        (lambda w: w.pop('backbone.layer3.sr.memory'), 'backbone.layer3.sr.memory is missing'),
    ],
    ids=['missing', 'unexpected', 'shape', 'part of a block'],
)
def test_weights_that_do_not_fit_are_refused(model, change, words):
    weights = copy.deepcopy(model.state_dict())
    change(weights)
    with pytest.raises(UserError, match=f'^w.pth does not fit the model: .*{re.escape(words)}'):
        check_weights(model, {'state_dict': weights}, 'w.pth')


def test_blocks_as_a_whole_and_auxiliary_heads_may_differ(model):
    weights = {f'module.{key}': value for key, value in model.state_dict().items() if '.sr.' not in key}
    assert check_weights(model, weights, 'w.pth') == ['backbone.layer3.sr']
    with pytest.raises(UserError, match='sr.memory'):
        check_weights(model, weights, 'w.pth', whole=True)
    other = {key.replace('auxiliary_head.0', 'auxiliary_head.1'): value for key, value in model.state_dict().items()}
    assert check_weights(model, other, 'w.pth') == []
    other = {**model.state_dict(), 'auxiliary_head.0.conv_seg.weight': torch.zeros(19, 8, 1, 1)}
    assert check_weights(model, other, 'w.pth') == []


# ---------------------------------------------------------------------------------------------------------- mistakes

TRAIN_MISTAKES = {
    'no config': (['{home}/none.py'], 'no such config'),
    'config is a folder': (['{home}'], 'no such config'),
    'config does not parse': (['{home}/broken.py'], 'broken.py'),
    'no model': (['{home}/empty.py'], 'has no model, train_dataloader, train_cfg, optim_wrapper'),
    'unknown type': (['{config}', '--cfg-options', 'model.backbone.type=ResNot'], 'ResNot is not in the'),
    'unknown argument': (['{config}', '--cfg-options', 'model.backbone.deep=3'], "'deep'"),
    'unknown optimizer': (['{config}', '--cfg-options', 'optim_wrapper.optimizer.type=SDG'], 'SDG'),
    'no key=value': (['{config}', '--cfg-options', 'max_iters'], 'takes key=value'),
    'brackets': (['{config}', '--cfg-options', 'crop_size=[1,(2]'], 'brackets'),
    'index': (['{config}', '--cfg-options', 'pipeline.7.type=x'], 'pipeline'),
    'contradiction': (['{config}', '--seed', '1', '--cfg-options', 'randomness.seed=2'], 'contradicts 1'),
    'no data': (['{config}', '--cfg-options', 'train_dataloader.dataset.data_root={home}/void'], '{home}/void/img'),
    'empty data': (['{config}', '--cfg-options', 'train_dataloader.dataset.img_suffix=.tif'], 'has no images'),
    'amp': (['{config}', '--amp'], 'needs a GPU'),
    'amp with another wrapper': (
        ['{config}', '--amp', '--cfg-options', 'optim_wrapper.type=Other'],
        'and the config has',
    ),
    'launcher': (['{config}', '--launcher', 'pytorch'], 'tools/dist_train.sh'),
    'slurm without GPUs': (['{config}', '--launcher', 'slurm'], 'needs GPUs'),
    'resume from nothing': (['{config}', '--resume', '{home}/none.pth'], 'no such checkpoint'),
    'resume from weights': (['{config}', '--resume', '{home}/weights.pth'], 'cannot be resumed'),
    'custom import': (['{config}', '--cfg-options', 'custom_imports.imports=[not_there]'], 'not_there'),
    'broken label': (['{config}', '--cfg-options', 'train_dataloader.dataset.seg_map_suffix=.gif'], '.gif'),
    'download': (
        ['{config}', '--cfg-options', 'model.pretrained=http://127.0.0.1:9/none.pth'],
        '--cfg-options model.pretrained=None',
    ),
}
TEST_MISTAKES = {
    'no checkpoint': (['{config}', '{home}/none.pth'], 'no such checkpoint'),
    'no checkpoint file': (['{config}', '{config}'], 'is no checkpoint'),
    'another model': (['{config}', '{checkpoint}', '--cfg-options', 'model.decode_head.num_classes=19'], 'conv_seg'),
    'no data': (['{config}', '{checkpoint}', '--cfg-options', 'test_dataloader.dataset.data_root=void'], 'void/img'),
    'no tta': (['{config}', '{checkpoint}', '--tta', '--cfg-options', 'tta_model=None'], 'has no tta_model'),
    'no writer': (
        ['{config}', '{checkpoint}', '--out', 'o', '--cfg-options', 'test_evaluator.type=DumpResults'],
        '--out',
    ),
    'out is a file': (['{config}', '{checkpoint}', '--out', '{config}'], '--out needs a folder'),
    'format-only to nowhere': (['{config}', '{checkpoint}', '--format-only'], 'say where by --out'),
    'format-only with metrics': (
        ['{config}', '{checkpoint}', '--format-only', '--out', 'o', '--metrics', 'm.json'],
        'evaluates nothing',
    ),
    'metrics is a folder': (['{config}', '{checkpoint}', '--metrics', '{home}'], '--metrics: cannot write'),
    'unknown metric': (['{config}', '{checkpoint}', '--cfg-options', 'test_evaluator.type=mIoO'], 'mIoO is not in the'),
}


@pytest.fixture(scope='module')
def places(home, trained) -> dict[str, str]:
    (home / 'broken.py').write_text('model = dict(')
    (home / 'empty.py').write_text('')
    torch.save({'state_dict': read_checkpoint(trained[1])['state_dict']}, home / 'weights.pth')
    return {'home': str(home), 'config': str(trained[0]), 'checkpoint': str(trained[1])}


@pytest.mark.parametrize(
    ('name', 'arguments', 'words'),
    [
        pytest.param(name, *mistake, id=f'{name}: {kind}')
        for name, mistakes in (('train', TRAIN_MISTAKES), ('test', TEST_MISTAKES))
        for kind, mistake in mistakes.items()
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(call, places, tmp_path, monkeypatch, name, arguments, words):
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    work = tmp_path / 'work'
    given = [argument.format(**places) for argument in arguments]
    assert words.format(**places) in call(name, *given, '--work-dir', work).mistake
    assert not work.exists()
    assert not list(tmp_path.rglob('*.json')) and not list(tmp_path.rglob('*.png'))


# ----------------------------------------------------------------------------------------------------------- configs


def test_custom_imports_beside_the_config_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    (tmp_path / 'extra_of_mine.py').write_text('LOADED = True')
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['extra_of_mine'])\nworth = dict(a=1)")
    cfg = load_config(tmp_path / 'config.py', {'worth.a': None, 'work.b': [1]})
    assert sys.modules['extra_of_mine'].LOADED
    assert (cfg.worth.a, cfg.work.b, cfg.work_dir) == (None, [1], str(Path('work_dirs/config')))


def test_options_reach_the_config_as_openmmlab_reads_them_but_for_spaces(monkeypatch):
    words = ['--cfg-options', 'model.pretrained=None', 'a=1,2', '--cfg-options', 'b=(1,2)', 'c=x=y', 'd=/a b/c']
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    monkeypatch.syspath_prepend(ROOT / 'tools')
    ours = importlib.import_module('_cli').Parser()
    ours.add_config_options()
    options = read_options(ours.parse_args(words).cfg_options)
    assert options == {**parser.parse_args(words).cfg_options, 'd': '/a b/c'}
    assert options == {'model.pretrained': None, 'a': [1, 2], 'b': (1, 2), 'c': 'x=y', 'd': '/a b/c'}
