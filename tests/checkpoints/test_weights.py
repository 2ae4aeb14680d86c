"""A training that is to start from a file of which no weight fits does not start from scratch."""

from pathlib import Path

import pytest
import torch
from in_process import forget_runs
from tiny_config import write_config

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.config import load_config
from mmseg_sr.runs.models import build_model


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with files of one network's weights: of all, and of the backbone, under several names."""
    forget_runs()
    home = tmp_path_factory.mktemp('home')
    model = build_model(load_config(write_config(home)))
    for part, module in (('all', model), ('backbone', model.backbone)):
        for prefix in ('', 'model.', '_orig_mod.', 'module.'):
            weights = {f'{prefix}{name}': value for name, value in module.state_dict().items()}
            torch.save({'state_dict': weights}, home / f'{part}-{prefix}pth')
    torch.save(
        {name: value[..., None] if value.ndim else value for name, value in model.state_dict().items()},
        home / 'other-pth',
    )
    torch.save({'model': {'weight': torch.ones(1)}}, home / 'nested-pth')
    return home


def train(call, home: Path, change: str) -> object:
    return call('train', write_config(home, extra=f'train_cfg.update(max_iters=1)\n{change}\n'))


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('all-model.', "119 of 119 would without 'model.' before the names in it"),
        ('all-_orig_mod.', "119 of 119 would without '_orig_mod.' before the names in it"),
        ('backbone-', "105 of 105 would with 'backbone.' before the names in it"),
        ('backbone-module.', "105 of 105 would with 'backbone.' before the names in it"),
        ('other-', "its backbone.conv1.weight is (64, 3, 7, 7, 1), and the model's (64, 3, 7, 7)"),
    ],
)
def test_a_start_from_weights_of_which_none_fits_is_refused(name, words, home, call):
    said = train(call, home, f"load_from = '{home}/{name}pth'").mistake
    assert f'no weight of {home}/{name}pth fits EncoderDecoder' in said and words in said
    assert not (home / 'work').exists()


@pytest.mark.parametrize(
    ('name', 'prefix', 'words'),
    [
        ('all-', None, "would without 'backbone.' before the names in it"),
        ('all-', 'head', "after prefix 'head.' fits ResNet: 105 of 119 would without 'backbone.'"),
        ('backbone-', 'backbone.', "after prefix 'backbone.' fits ResNet: 105 of 105 would without a prefix"),
        ('other-', 'backbone', "its conv1.weight is (64, 3, 7, 7, 1), and the model's (64, 3, 7, 7)"),
        ('nested-', None, 'it has model; the model conv1.weight'),
    ],
)
def test_pretrained_weights_of_which_none_fits_are_refused(name, prefix, words, home, call):
    start = f"dict(type='Pretrained', checkpoint='{home}/{name}pth', prefix={prefix!r})"
    said = train(call, home, f"import mmengine.model\nmodel['backbone']['init_cfg'] = {start}\ndel mmengine").mistake
    assert f'no weight of {home}/{name}pth' in said and words in said


@pytest.mark.parametrize(('name', 'prefix'), [('backbone-', None), ('backbone-module.', None), ('all-', 'backbone')])
def test_what_fits_is_loaded_as_before(name, prefix, home, call):
    start = f"dict(type='Pretrained', checkpoint='{home}/{name}pth', prefix={prefix!r})"
    frozen = "model['backbone'].update(frozen_stages=1)\nmodel['backbone']['init_cfg'] = "
    assert train(call, home, f'{frozen}{start}').status == 0
    trained = read_checkpoint(home / 'work/tiny/iter_1.pth')
    weights = read_checkpoint(home / 'backbone-pth')['state_dict']
    assert torch.equal(trained['state_dict']['backbone.conv1.weight'], weights['conv1.weight'])


def test_a_start_from_a_part_is_a_start(home, call):
    assert train(call, home, f"load_from = '{home}/all-module.pth'").status == 0


SWIN = """
model.update(
    backbone=dict(
        type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), window_size=2, init_cfg=START
    ),
    decode_head=dict(model['decode_head'], in_channels=64),
    auxiliary_head=None,
)
"""


@pytest.mark.parametrize('kind', ['own', 'other'])
def test_a_backbone_that_loads_in_its_own_way_is_checked_too(kind, home, call):
    """Swin's own weights lie under 'model', and other names, in the files that its authors publish."""
    swin = build_model(load_config(write_config(home, 'swin.py', SWIN.replace('START', 'None')))).backbone
    torch.save({'model': swin.state_dict()}, home / 'own-swin.pth')
    torch.save({'model': torch.load(home / 'backbone-pth')['state_dict']}, home / 'other-swin.pth')
    done = train(call, home, SWIN.replace('START', f"dict(type='Pretrained', checkpoint='{home}/{kind}-swin.pth')"))
    if kind == 'own':
        assert done.status == 0
    else:
        assert 'other-swin.pth is of another network: nothing in it came into SwinTransformer' in done.mistake
