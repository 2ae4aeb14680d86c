"""Tell which line of OpenMMLab's packages is installed, and from where pip can install the rest."""

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

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
            f'Run: pip uninstall {" ".join(onedl + upstream)}, then: pip install "{source()}[onedl]"'
        )
    wanted = UPSTREAM if upstream else ONEDL
    missing = [name for name in wanted if name not in names]
    if missing:
        extra = 'openmmlab' if upstream else 'onedl'
        raise ImportError(f'mmseg_sr needs {", ".join(missing)}. Run: pip install "{source()}[{extra}]"')
    return 'openmmlab' if upstream else 'onedl'


def source() -> str:
    """Say what pip can install an extra of: ``mmseg-sr``, which needs no index once it is installed, or this checkout.

    Example:
        >>> source().endswith(('mmseg-sr', 'mmseg_sr')) or Path(source(), 'setup.py').is_file()
        True
    """
    try:
        return metadata.distribution('mmseg-sr').metadata['Name']
    except metadata.PackageNotFoundError:
        return str(Path(__file__).resolve().parents[1])
