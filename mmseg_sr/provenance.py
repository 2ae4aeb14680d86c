"""Say where a number comes from: the commit, the machine, the time, and the images."""

import hashlib
import importlib
import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from PIL import Image

CHECKOUT = Path(__file__).resolve().parents[1]


def provenance() -> dict:
    """Describe this checkout and this machine, for a document that holds a measured number.

    Example:
        >>> sorted(provenance())
        ['commit', 'date', 'machine']
    """
    return {
        'commit': commit(),
        'machine': machine(),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }


def versions() -> dict[str, str]:
    """Return the versions of this package and of those that compute a number, by their import names."""
    names = ('mmseg_sr', 'torch', 'mmengine', 'mmcv', 'mmseg')
    return {name: importlib.import_module(name).__version__ for name in names}


def commit(folder: Path = CHECKOUT) -> str | None:
    """Return the commit of a checkout, with ``-dirty`` behind it where files differ; None where it is not one.

    Example:
        >>> import tempfile
        >>> commit(Path(tempfile.mkdtemp())) is None
        True
    """
    if not (folder / '.git').exists():  # git would look for a repository around it
        return None
    command = ['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*']
    try:
        done = subprocess.run(command, capture_output=True, encoding='utf-8', errors='replace', check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def machine() -> dict[str, str | int | None]:
    """Describe the processor, the cores that this process may use, and the GPU, None without one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return {
        'cpu': _cpu(),
        'cores': cores,
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'platform': platform.platform(),
        'python': platform.python_version(),
    }


def _cpu() -> str:
    known = Path('/proc/cpuinfo')
    found = re.search(r'^model name\s*: (.+)$', known.read_text(encoding='utf-8'), re.M) if known.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def pixels_sha256(folder: str | Path, pattern: str = '**/*.png') -> str:
    """Hash the names, sizes and pixels of the images below a folder, whatever library compressed them.

    Raises:
        FileNotFoundError: Where there are none.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for level in (0, 9):
        ...     Image.new('L', (4, 3), 7).save(folder / 'a.png', compress_level=level)
        ...     print(pixels_sha256(folder)[:8])
        6e2923f9
        6e2923f9
    """
    folder = Path(folder)
    files = sorted(folder.glob(pattern))
    if not files:
        raise FileNotFoundError(f'no {pattern} below {folder}')
    digest = hashlib.sha256()
    for file in files:
        pixels = np.asarray(Image.open(file))
        digest.update(f'{file.relative_to(folder).as_posix()} {pixels.dtype} {pixels.shape}\n'.encode())
        digest.update(pixels.tobytes())
    return digest.hexdigest()
