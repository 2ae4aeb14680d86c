"""mmseg_sr's configs and models by name, for mmengine and mmseg: from a wheel as from a checkout.

    _base_ = 'mmseg_sr::fcn/fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py'       # in a config
    MMSegInferencer('fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024', weights=...)   # a model of the index

They are known once mmseg_sr is imported. Nothing is installed along the way: mmengine's hub does that to packages that
it does not find, and without the name below it would not find the onedl line's mmseg.
"""

from collections.abc import Iterator
from pathlib import Path

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.infer import BaseInferencer

from .openmmlab import LINE

PACKAGE = Path(__file__).resolve().parent
HOME = PACKAGE.parent if (PACKAGE.parent / 'model-index.yml').is_file() else PACKAGE / '.mim'
"""Where configs/, tools/, experiments/, checkpoints/ and model-index.yml are: the checkout, or what the wheel has."""

SCHEME = 'mmseg_sr://'  # how the address of released weights begins: mmseg_sr://checkpoints/<file>

MODULE2PACKAGE['mmseg_sr'] = 'mmseg_sr'
if LINE == 'onedl':  # else 'mmseg::...' in a config fails, and in the hub it installs upstream's package over this one
    MODULE2PACKAGE['mmseg'] = 'onedl-mmsegmentation'

_listed = BaseInferencer._get_models_from_metafile


def _models(folder: str) -> Iterator[dict]:
    """The models of a model index, for mmengine's inferencers; after those of mmseg, ours of other names.

    mmengine wants an address of weights even where the user gives a file: models without weights get one that says so.
    """
    names = set()
    for model in _listed(folder):
        names.add(model['Name'])
        yield model if Path(folder).resolve() != HOME else {'Weights': f'{SCHEME}{model["Name"]}', **model}
    if folder == BaseInferencer._get_repo_or_mim_dir('mmseg'):
        for model in _models(str(HOME)):
            if model['Name'] not in names:
                yield {**model, 'Config': str(HOME / model['Config'])}


BaseInferencer._get_models_from_metafile = staticmethod(_models)
