"""Which OpenMMLab packages are installed: exactly one of the two lines that share their import names.

``onedl-*`` is the maintained line, the other one is upstream. Installed beside each other they overwrite
one another's files, so neither and both are refused, with advice, before anything else can fail.
"""

from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

ONEDL = ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation')
UPSTREAM = ('mmengine', 'mmcv', 'mmsegmentation')


def check_line(installed: Iterable[str]) -> str:
    """Return the OpenMMLab line among ``installed``: 'onedl' or 'openmmlab'.

    Args:
        installed: Names of installed distributions.

    Raises:
        ImportError: Where a package is missing or both lines are there; the message says what to install.
    """
    names = {name.lower().replace('_', '-') for name in installed}
    if 'mmcv-lite' in names:
        names.add('mmcv')
    onedl = [name for name in ONEDL if name in names]
    upstream = [name for name in UPSTREAM if name in names]
    if onedl and upstream:
        raise ImportError(
            f'both OpenMMLab lines are installed ({", ".join(onedl + upstream)}) and overwrite each other. '
            f'Run: pip uninstall {" ".join(onedl + upstream)}, then: pip install "mmseg-sr[onedl]"'
        )
    wanted = UPSTREAM if upstream else ONEDL
    missing = [name for name in wanted if name not in names]
    if missing:
        extra = 'openmmlab' if upstream else 'onedl'
        raise ImportError(f'mmseg_sr needs {", ".join(missing)}. Run: pip install "mmseg-sr[{extra}]"')
    return 'openmmlab' if upstream else 'onedl'


def restore_in1d() -> None:
    """Give numpy back ``in1d``, which cityscapesscripts 2.3.0 calls and numpy 2.4 dropped."""
    if not hasattr(np, 'in1d'):
        np.in1d = np.isin


LINE = check_line(name for name in (dist.metadata['Name'] for dist in metadata.distributions()) if name)
restore_in1d()

# These packages can be imported now.
from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402
from mmengine.infer import BaseInferencer  # noqa: E402

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
