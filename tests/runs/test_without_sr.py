"""tools/test.py --without-sr: an SR checkpoint is evaluated as the stock network with the rest of its weights."""

from pathlib import Path

import pytest
import torch
from in_process import ROOT, command
from tiny_config import write_config

from mmseg_sr.config import load_config
from mmseg_sr.runs import launch

SR = """
sr = dict(after='layer3', memory_size=(4, 4), num_memories={})
model['backbone'] = dict(type='SRBackbone', backbone=model['backbone'], sr=sr)
"""
EMA = "custom_hooks = [dict(type='EMAHook')]\n"


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with configs without and with a block, and checkpoints of one network: sr.pth, and stock.pth of it."""
    home = tmp_path_factory.mktemp('a home')
    write_config(home, 'stock.py')
    launch.train(load_config(write_config(home, 'sr.py', SR.format(2))))
    weights = torch.load(home / 'work/sr/iter_4.pth', weights_only=False)['state_dict']
    torch.nn.init.normal_(weights['backbone.layer3.sr.memory'], std=3.0)
    torch.save({'state_dict': weights, 'meta': {}}, home / 'sr.pth')
    stock = {key: value for key, value in weights.items() if '.sr.' not in key}
    torch.save({'state_dict': stock, 'meta': {}}, home / 'stock.pth')
    return home


@pytest.fixture
def without(home, call, tmp_path):
    """Call tools/test.py --without-sr: (metrics, stdout and stderr)."""

    def without(config: str, checkpoint: str, *arguments: object) -> tuple[dict, str]:
        words = [home / config, home / checkpoint, '--without-sr', *arguments, '--work-dir', tmp_path / 'work']
        done = call('test', *words)
        assert done.document['without_sr'] is True
        return done.document['metrics'], done.out + done.err

    return without


def stock(home: Path, **options: object) -> dict:
    metrics = launch.test(load_config(home / 'stock.py'), home / 'stock.pth', **options)
    return {name: None if value != value else value for name, value in metrics.items()}


@pytest.mark.parametrize('mode', [[], ['--tta']], ids=['one scale', 'tta'])
def test_metrics_are_those_of_the_stock_network(home, without, mode):
    metrics, said = without('sr.py', 'sr.pth', *mode)
    assert metrics == stock(home, tta=bool(mode))
    assert 'tested without weights of backbone.layer3.sr' in said
    assert metrics != launch.test(load_config(home / 'sr.py'), home / 'sr.pth', tta=bool(mode)), 'the memory matters'


def test_two_processes_leave_it_out_too(home, tmp_path):
    words = [ROOT / 'tools/dist_test.sh', home / 'sr.py', home / 'sr.pth', 2, '--without-sr', '--work-dir', tmp_path]
    assert command(*words).document['metrics'] == stock(home)


def test_whatever_the_checkpoint_has_for_the_block_does_not_matter(home, without):
    write_config(home, 'five.py', SR.format(5))
    write_config(home, 'averaged.py', SR.format(2) + EMA)
    expected = stock(home)
    for config, checkpoint in (('five.py', 'sr.pth'), ('averaged.py', 'sr.pth'), ('sr.py', 'stock.pth')):
        assert without(config, checkpoint)[0] == expected, config


def test_a_config_without_a_block_is_a_mistake(home, call):
    done = call('test', home / 'stock.py', home / 'sr.pth', '--without-sr')
    assert '--without-sr: the model of the config has no SR block' in done.mistake
