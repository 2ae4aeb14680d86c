"""A type is compared by what it means, in one place: configs of Python throughout do all that others do."""

import re

import numpy as np
import pytest
from in_process import ROOT
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from pure_python import write_pure_config
from tiny_config import SR, write_config

from mmseg_sr.config import load_config, with_amp
from mmseg_sr.errors import UserError
from mmseg_sr.experiments import settings
from mmseg_sr.experiments.plan import load
from mmseg_sr.kinds import is_kind, kind_of


@pytest.fixture(scope='module')
def pure(tmp_path_factory):
    return write_pure_config(tmp_path_factory.mktemp('pure'), extra=SR)


@pytest.mark.parametrize('kind', ['OptimWrapper', 'mmengine.OptimWrapper', 'mmengine.optim.OptimWrapper', OptimWrapper])
def test_a_type_is_compared_by_what_it_means(kind):
    assert is_kind(dict(type=kind), 'OPTIM_WRAPPERS', 'OptimWrapper')
    assert not is_kind(dict(type=kind), 'OPTIM_WRAPPERS', 'AmpOptimWrapper', 'NoSuchWrapper')
    assert kind_of(dict(type=kind), 'OPTIM_WRAPPERS') is OptimWrapper
    assert with_amp(Config(dict(optim_wrapper=dict(type=kind)))).optim_wrapper.type == 'AmpOptimWrapper'


@pytest.mark.parametrize(
    'node', [None, {}, dict(type=None), dict(type='No'), dict(type='no.No'), dict(type='mmseg.No')]
)
def test_what_has_no_known_type_is_of_no_kind(node):
    assert kind_of(node, 'METRICS') is None and not is_kind(node, 'METRICS', 'IoUMetric', 'NoSuchMetric')


def test_only_one_place_compares_types():
    places = [
        path for folder in ('mmseg_sr', 'tools', 'benchmarks', 'scripts') for path in ROOT.glob(f'{folder}/**/*.py')
    ]
    compared = r"""(\.get\(['"]type['"]|\[['"]type['"]\]|\bcfg[\w.]*\.type)(\)|, [^)]*\))? *(==|!=|in\b|not\b|\.)"""
    found = {path.name for path in places if re.search(compared, path.read_text(encoding='utf-8'))}
    assert len(places) > 80 and found <= {'kinds.py', 'schema.py'}, 'pydantic calls the kind of a mistake its type'


def test_a_config_of_python_throughout_is_trained_and_tested_like_another(pure, call, tmp_path):
    work = tmp_path / 'work'
    assert call('train', pure, '--work-dir', work).status == 0
    words = [work / 'iter_4.pth', '--work-dir', work]
    outputs = ['--confusion', tmp_path / 'c.npz', '--out', tmp_path / 'out', '--show-dir', tmp_path / 'drawn']
    named = call('test', write_config(pure.parent, extra=SR), *words).document['metrics']
    assert call('test', pure, *words, *outputs).document['metrics'] == named and 'IoU.road' in named
    assert len(np.load(tmp_path / 'c.npz')['images']) == len(list(tmp_path.glob('out/*.png'))) == 5
    assert len(list(tmp_path.glob('drawn/**/test_*.png'))) == 5
    submitted = ['--format-only', '--tta', '--out', tmp_path / 'submitted']
    assert call('test', pure, *words, *submitted).document['metrics'] == {}
    assert len(list(tmp_path.glob('submitted/*.png'))) == 5
    assert call('predict', pure, words[0], pure.parent / 'data/img', '--out', 'p').document['written'] == 5
    assert 'needs a GPU' in call('train', pure, '--work-dir', work, '--amp').mistake


def test_an_experiment_knows_its_own_runs_again(pure, tmp_path):
    (tmp_path / 'plan.yaml').write_text(f'name: a\nbaseline: A\nseeds: [0]\narms: {{A: {{config: {pure}}}}}\n')
    exp = load(tmp_path / 'plan.yaml', tmp_path)
    arm, (mode,) = exp.arms['A'], exp.modes
    settings.write_config(tmp_path / 'run/pure.py', tmp_path, arm, 0)
    assert settings.differences(settings.resolve(arm, 0), tmp_path / 'run') == []
    cfg = settings.resolve(arm, None, mode)
    assert ' at 0x' not in str(settings._settings(cfg, settings.TRAINING)), 'the same in every process'
    assert settings._settings(cfg, ['norm_cfg'])['norm_cfg'] == {'type': 'BN', 'requires_grad': True}


def test_amp_without_an_optimizer_is_a_mistake(tmp_path):
    cfg = load_config(write_config(tmp_path, extra='del optim_wrapper\n'))
    with pytest.raises(UserError, match='has no optim_wrapper'):
        with_amp(cfg)
