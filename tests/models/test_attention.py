"""SE and CBAM compute their papers' equations, pair with SR runs, and are told from SR blocks by every tool."""

import numpy as np
import pytest
import torch
from in_process import ROOT
from scipy.signal import correlate2d
from scipy.special import expit
from tiny_config import write_config
from trained_block import built

from mmseg_sr import CBAMBlock, SEBlock
from mmseg_sr.experiments import results, settings
from mmseg_sr.experiments.plan import load


def two_layers(state: dict, name: str, vector: np.ndarray) -> np.ndarray:
    """A layer, ReLU, a layer; without a bias where there is none."""
    first, second = (state[f'{name}.{index}.weight'][:, :, 0, 0] for index in (0, 2))
    hidden = np.maximum(first @ vector + state.get(f'{name}.0.bias', 0), 0)
    return second @ hidden + state.get(f'{name}.2.bias', 0)


def se(state: dict, x: np.ndarray) -> np.ndarray:
    """Equations 2 to 4 of https://arxiv.org/abs/1709.01507 for one image (C, h, w); timm's SEModule computes them."""
    return x * expit(two_layers(state, 'excite', x.mean((1, 2))))[:, None, None]


def cbam(state: dict, x: np.ndarray) -> np.ndarray:
    """Equations 1 to 3 of https://arxiv.org/abs/1807.06521; timm's CbamModule has a batch norm more, after the map."""
    means, maxima = (two_layers(state, 'channels', each) for each in (x.mean((1, 2)), x.max((1, 2))))
    x = x * expit(means + maxima)[:, None, None]
    kernels = state['cells.weight'][0]
    return x * expit(sum(correlate2d(part, k, 'same') for part, k in zip((x.mean(0), x.max(0)), kernels, strict=True)))


CASES = {
    'SE': (lambda: SEBlock(12, ratio=4), se),
    'SE with one hidden channel': (lambda: SEBlock(12, ratio=16), se),
    'CBAM': (lambda: CBAMBlock(12, ratio=4), cbam),
    'CBAM as in the paper of SR': (lambda: CBAMBlock(12, ratio=3, kernel_size=3), cbam),
}


@pytest.mark.parametrize(('make', 'equation'), CASES.values(), ids=CASES)
def test_it_equals_the_equations_in_float64(make, equation):
    block, x = make(), torch.randn(3, 12, 9, 8)
    state = {name: value.detach().double().numpy() for name, value in block.state_dict().items()}
    expected = np.stack([equation(state, image) for image in x.double().numpy()])
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(block.double()(x.double()).detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    assert np.abs(expected - x.numpy()).max() > 0.1, 'it does something'


def test_they_have_the_numbers_that_their_papers_count():
    """Section 4 of SE: 2 * C**2 / r, and biases; CBAM without biases, and 2 * k**2 for the map."""
    sizes = [sum(each.numel() for each in block.parameters()) for block in (SEBlock(1024), CBAMBlock(1024))]
    assert sizes == [2 * 1024**2 // 16 + 1024 + 64, 2 * 1024**2 // 16 + 2 * 7**2]


RESNET = dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8)  # its init_cfg is Kaiming


@pytest.mark.parametrize('kind', ['SEBlock', 'CBAMBlock'])
def test_the_rest_of_the_network_starts_as_without_it(kind):
    cfg = dict(type='SRBackbone', backbone=RESNET, sr=dict(type=kind, after='layer3'))
    stock, ours = (built(each).state_dict() for each in (RESNET, cfg))
    assert {key.rsplit('.sr.')[0] for key in ours.keys() - stock.keys()} == {'layer3'}
    assert all(torch.equal(value, ours[key]) for key, value in stock.items())
    bound = 32**-0.5  # PyTorch's own initial state; Kaiming's would leave it
    first = next(weight for key, weight in ours.items() if '.sr.' in key)
    assert 0.5 * bound < first.abs().max() <= bound


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(type='SEBlock', ratio=0), 'ratio must be a positive integer, got 0'),
        (dict(type='CBAMBlock', kernel_size=4), 'kernel_size must be odd, got 4'),
        (dict(type='CBAMBlock', kernel_size='7'), "kernel_size must be a positive integer, got '7'"),
        (dict(type='SEBlock', init_cfg=dict(type='No')), "no initialiser 'No'"),
        (dict(type='SEBlock', memory_size=(4, 4)), 'cannot build a block of .*memory_size'),
        (dict(type='NoSuchBlock'), 'cannot build a block of .*NoSuchBlock'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        built(dict(type='SRBackbone', backbone=RESNET, sr=dict(options, after='layer3')))


SE = """
model['backbone'] = dict(type='SRBackbone', backbone=model['backbone'], sr=dict(type='{}', after='layer3'))
custom_hooks = [dict(type='SRMonitorHook', interval=1)]
"""


@pytest.mark.parametrize('kind', ['SEBlock', 'CBAMBlock'])
def test_a_network_trains_and_tools_about_memories_say_that_there_is_none(kind, call, tmp_path):
    config = write_config(tmp_path, extra=SE.format(kind))
    before = torch.load(_trained(call, config, tmp_path / 'a', 1), weights_only=False)['state_dict']
    weights = _trained(call, config, tmp_path / 'b', 4)
    after = torch.load(weights, weights_only=False)['state_dict']
    names = [name for name in after if '.sr.' in name]
    assert names and not any(torch.equal(before[name], after[name]) for name in names), 'all of it learns'
    assert 'there is nothing to monitor' in ''.join(path.read_text() for path in (tmp_path / 'b').rglob('*.log'))
    assert 0 < call('test', config, weights).document['metrics']['mIoU'] < 100
    assert call('inspect_checkpoint', weights).status == 0
    stock = write_config(tmp_path, 'stock.py')
    for words in (
        ('test', config, weights, '--without-sr'),
        ('cost', config, '--rounds', 1),
        ('ablate', config, weights),
        ('visualize_sr', config, weights, '--out', tmp_path / 'maps'),
    ):
        assert 'has no SR block' in call(*words).mistake, words
    # It is no identity, so a checkpoint without it is refused; that of an SR block would be taken.
    missing = call('test', config, _trained(call, stock, tmp_path / 'c', 1)).mistake
    assert 'does not fit the model: backbone.layer3.sr.' in missing


def _trained(call, config, folder, iterations):
    options = [f'train_cfg.max_iters={iterations}', f'default_hooks.checkpoint.interval={iterations}']
    assert call('train', config, '--work-dir', folder, '--cfg-options', *options).status == 0
    return folder / f'iter_{iterations}.pth'


def test_the_experiment_compares_them_at_the_place_of_the_paper(tmp_path):
    exp = load(ROOT / 'experiments/attention.yaml', tmp_path)
    backbones = {name: settings.resolve(arm).model.backbone for name, arm in exp.arms.items()}
    plain = backbones.pop('FCN')
    assert [sr['after'] for sr in (each.pop('sr') for each in backbones.values())] == ['layer3'] * 3
    assert all(each == dict(type='SRBackbone', backbone=plain) for each in backbones.values())
    counted = {name: settings.count_parameters(settings.resolve(arm))['total'] for name, arm in exp.arms.items()}
    added = {name: count - counted['FCN'] for name, count in counted.items()}
    assert added == {'FCN': 0, 'FCN+SR': 6_358_148, 'FCN+SE': 132_160, 'FCN+CBAM': 131_170}
    assert exp.primary.arms == ('FCN+SR',) and exp.arms['FCN+SR'].controls == ('FCN+SE', 'FCN+CBAM')
    assert {cell.arm.name for cell in results.cells(exp) if cell.without_sr} == {'FCN+SR'}
