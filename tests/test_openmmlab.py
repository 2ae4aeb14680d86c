"""What ``import mmseg_sr`` changes for other code is listed, and nothing else is changed."""

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import ROOT, python
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmseg_sr import SRBlock
from mmseg_sr.openmmlab import CHANGES, check_line, restore_in1d

PACKAGE = Path(__file__).resolve().parents[1] / 'mmseg_sr'
# Compares what other packages' modules, classes and tables of loaders hold before and after the import.
COMPARE = """
import inspect, json, sys
import numpy
from torch.optim.optimizer import _global_optimizer_pre_hooks as hooks
try:
    import torchvision
except RuntimeError:  # beside another torch: mmseg imports mmpretrain where it is there, and that torchvision
    import torch
    library = torch.library.Library('torchvision', 'FRAGMENT')
    [library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor') for name in ('nms', 'qnms')]
except ImportError:
    pass
import mmcv, mmengine.hub, mmengine.infer, mmengine.runner, mmseg.apis, mmseg.datasets, mmseg.engine

def others():
    return [m for n, m in sorted(sys.modules.items()) if n.split('.')[0] in ('mmengine', 'mmcv', 'mmseg', 'numpy')]

def held(before=None):
    found = {}
    for module in others() if before is None else before:
        for name, value in list(vars(module).items()):
            place = f'{module.__name__}.{name}'
            found[place] = value
            if inspect.isclass(value) and value.__module__.split('.')[0] in ('mmengine', 'mmcv', 'mmseg'):
                within = f'{value.__module__}.{value.__qualname__}'
                found.update({f'{within}.{key}': each for key, each in vars(value).items()})
    for key, loader in mmengine.runner.CheckpointLoader._schemes.items():
        found[f'mmengine.runner.CheckpointLoader._schemes[{key!r}]'] = loader
    for key, name in mmengine.config.utils.MODULE2PACKAGE.items():
        found[f'mmengine.config.utils.MODULE2PACKAGE[{key!r}]'] = name
    return found

modules = others()
before = held(modules)
count = len(hooks)
import mmseg_sr
after = held(modules)
nothing = object()
changed = [
    place for place in sorted(before.keys() | after.keys())
    if before.get(place, nothing) is not after.get(place, nothing)
    and (not place.rpartition('.')[2].startswith('__') or place.endswith('__call__'))
    and not inspect.ismodule(after.get(place))
    and not place.endswith('CheckpointLoader._schemes')  # a table, compared entry by entry
]
assert len(hooks) == count, 'only when a memory is moved'
print(json.dumps(changed))
"""
EXPECTED = {
    'in1d': set(),  # this numpy has it
    'torchvision': set(),  # operators of torch
    'packages': {
        "mmengine.config.utils.MODULE2PACKAGE['mmpretrain']",
        "mmengine.config.utils.MODULE2PACKAGE['mmseg']",
        "mmengine.config.utils.MODULE2PACKAGE['mmseg_sr']",
        'mmengine.config.config.Config._get_cfg_path',
    },
    'models': {'mmengine.infer.infer.BaseInferencer._get_models_from_metafile'},
    'loading': {
        "mmengine.runner.CheckpointLoader._schemes['']",
        'mmengine.runner.checkpoint.load_url',
        'mmengine.runner.checkpoint._safe_torch_load',
    },
    'pretrained': {'mmengine.model.weight_init.PretrainedInit.__call__'},
    'schemes': {
        "mmengine.runner.CheckpointLoader._schemes['(?!\\\\S+://).*\\\\.safetensors$']",
        "mmengine.runner.CheckpointLoader._schemes['mmseg_sr://']",
        "mmengine.runner.CheckpointLoader._schemes['package://']",
    },
    'layer_decay': {'mmseg.engine.optimizers.layer_decay_optimizer_constructor.get_layer_id_for_convnext'},
    'moved': set(),  # when a memory is moved
}


def changed(**environment: str) -> set[str]:
    return set(python('-c', COMPARE, **environment).document)


def test_the_import_changes_what_is_listed_and_nothing_else():
    assert {change.name for change in CHANGES} == EXPECTED.keys()
    assert changed() == set().union(*EXPECTED.values())


@pytest.mark.parametrize('name', ['all', 'models,loading'])
def test_a_change_is_switched_off_by_its_name(name):
    off = EXPECTED.keys() if name == 'all' else name.split(',')
    assert changed(MMSEG_SR_STOCK=name) == set().union(*(EXPECTED[each] for each in EXPECTED.keys() - set(off)))


def test_every_change_says_what_and_why():
    for change in CHANGES:
        assert change.what and change.why and all('.' in place for place in change.what)


def foreign(tree: ast.Module) -> set[str]:
    """Names in a file that stand for another package's module, or for what was imported from one."""
    names, own = set(), {'mmseg_sr', *sys.stdlib_module_names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                (each.asname or each.name).split('.')[0] for each in node.names if each.name.split('.')[0] not in own
            }
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.split('.')[0] not in own:
            names |= {alias.asname or alias.name for alias in node.names}
    return names - own


def root_of(node: ast.expr) -> str | None:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def test_nothing_else_assigns_into_another_package():
    for path in PACKAGE.rglob('*.py'):
        if path.name == 'openmmlab.py' or '.mim' in path.parts:
            continue
        tree = ast.parse(path.read_text())
        theirs = foreign(tree)
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
            targets = targets if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) else []
            for target in (each for one in targets for each in (one.elts if isinstance(one, ast.Tuple) else [one])):
                if isinstance(target, (ast.Attribute, ast.Subscript)):
                    assert root_of(target) not in theirs, f'{path.name}:{node.lineno} changes {root_of(target)}'
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'setattr':
                assert root_of(node.args[0]) not in theirs, f'{path.name}:{node.lineno}'
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr != 'register_scheme', f'{path.name}:{node.lineno} changes mmengine'


def test_the_evaluator_of_cityscapesscripts_finds_in1d(monkeypatch):
    monkeypatch.delattr(np, 'in1d', raising=False)
    restore_in1d()
    assert np.in1d([1, 5], [5, 6]).tolist() == [False, True]


class ConvNeXt(torch.nn.Module):
    """Named as mmpretrain's, with stages of the depths of the smallest one, and a block behind each."""

    def __init__(self):
        super().__init__()
        layers = [[torch.nn.Conv2d(1, 1, 1) for _ in range(depth)] for depth in (3, 3, 9, 3)]
        self.stages = torch.nn.ModuleList(torch.nn.Sequential(*each) for each in layers)
        for stage in self.stages:
            stage.add_module('sr', SRBlock(1, (1, 1)))


def test_a_block_learns_as_the_last_layer_of_its_stage():
    model = torch.nn.Module()
    model.backbone = ConvNeXt()
    decay = dict(decay_rate=0.9, decay_type='layer_wise', num_layers=6)
    kind = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0), paramwise_cfg=decay)
    wrapper = build_optim_wrapper(model, dict(kind, constructor='mmseg.LearningRateDecayOptimizerConstructor'))
    rate_of = {weight: group['lr'] for group in wrapper.param_groups for weight in group['params']}
    rates = {name: rate_of[weight] for name, weight in model.named_parameters()}
    for stage, last in enumerate((2, 2, 8, 2)):
        assert rates[f'backbone.stages.{stage}.sr.memory'] == rates[f'backbone.stages.{stage}.{last}.weight']
    assert len(set(rates.values())) == 6


def test_a_checkout_that_is_not_installed_names_its_configs(tmp_path):
    name = 'mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
    assert Config._get_cfg_path(f'mmseg_sr::{name}', '') == (str(ROOT / 'configs' / name), 'mmseg_sr')
    (tmp_path / 'mine.py').write_text(f"_base_ = ['mmseg_sr::{name}']\n")
    assert Config.fromfile(tmp_path / 'mine.py').model.backbone.type == 'SRBackbone'


ONEDL = ['torch', 'onedl-mmengine', 'onedl_mmcv', 'onedl-mmsegmentation']
UPSTREAM = ['torch', 'mmengine', 'mmcv', 'mmsegmentation']


def test_either_openmmlab_line_is_accepted():
    assert check_line(ONEDL) == 'onedl'
    assert check_line(UPSTREAM) == 'openmmlab'


@pytest.mark.parametrize(
    ('installed', 'advice'),
    [
        (['torch'], r'needs onedl-mmengine, onedl-mmcv, onedl-mmsegmentation.*pip install "mmseg-sr\[onedl\]"'),
        (ONEDL[:-1], r'needs onedl-mmsegmentation\. .*\[onedl\]'),
        (['mmengine', 'mmcv-lite'], r'needs mmsegmentation\. .*\[openmmlab\]'),
        ([*ONEDL, 'mmcv'], r'both OpenMMLab lines.*pip uninstall .*mmcv'),
    ],
)
def test_no_line_a_part_of_one_and_both_are_refused_with_advice(installed, advice):
    with pytest.raises(ImportError, match=advice):
        check_line(installed)


def test_the_command_that_is_said_installs_where_it_is_said(monkeypatch):
    with pytest.raises(ImportError) as error:
        check_line([])
    (said,) = re.findall(r'pip install "(mmseg-sr\[onedl\])"', str(error.value))
    assert 'already satisfied: mmseg-sr[onedl]' in python('-m', 'pip', 'install', '--dry-run', '--no-index', said).out

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, 'distribution', missing)  # a checkout that was not installed
    with pytest.raises(ImportError, match=re.escape(f'pip install "{ROOT}[onedl]"')):
        check_line([])
