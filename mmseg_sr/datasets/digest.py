"""What a folder of images shows, as one number, whatever library compressed the files."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image


def pixels_sha256(folder: str | Path, pattern: str = '**/*.png') -> str:
    """sha256 of the names, sizes and pixels of images below a folder, in the order of their names.

    Args:
        folder: Where to look.
        pattern: Which files, as pathlib has it.

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
