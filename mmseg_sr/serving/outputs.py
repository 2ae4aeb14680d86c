"""What predictions are written as: label maps, coloured overlays, and a record of what made them.

    DIR/predict.json             what made them: a folder is taken up again only by the same
    DIR/labels/<name>.png        ids of the classes, one byte a pixel
    DIR/overlays/<name>.png      the picture, coloured

Files appear whole or not at all, so what is there is done.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic import replacing
from ..errors import UserError

RECORD = 'predict.json'


def claim(out: Path, record: Mapping[str, object], overwrite: bool = False) -> None:
    """Write down what makes the predictions of a folder, or see that those there were made by the same.

    Args:
        out: The folder.
        record: What changes predictions: the network, how it is used, the pictures' place.
        overwrite: Whether the predictions that are there go first.

    Raises:
        UserError: For a folder with predictions that something else made.
    """
    if any(place.is_file() for place in (out, *out.parents)):
        raise UserError(f'--out needs a folder, and {out} is a file or below one')
    text = json.dumps(record, indent=2) + '\n'
    path, folders = out / RECORD, [out / 'labels', out / 'overlays']
    there = [folder for folder in folders if folder.exists()]
    if there and not path.exists():
        raise UserError(f'{there[0]} is there, and nothing says what made it: choose another --out')
    if overwrite:
        for folder in there:
            shutil.rmtree(folder)
    elif path.exists():
        differ = _differences(path, json.loads(text))  # which has lists for tuples, as the file does
        if differ:
            raise UserError(f'{out} has other predictions ({", ".join(differ)}): choose another --out, or --overwrite')
    with replacing(path) as partial:
        partial.write_text(text)


def _differences(path: Path, record: Mapping[str, object]) -> list[str]:
    try:
        before = json.loads(path.read_text())
        return sorted(key for key in {*before, *record} if before.get(key) != record.get(key))
    except (AttributeError, OSError, TypeError, ValueError):
        return [f'{path.name} is damaged']


def is_whole(path: Path) -> bool:
    """Whether an image file is there and all of its bytes are."""
    try:
        with Image.open(path) as image:
            image.verify()
        return True
    except (OSError, SyntaxError, ValueError):
        return False


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write grey (H, W) or RGB (H, W, 3) pixels as a PNG, whole or not at all."""
    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial)


def overlay(
    picture: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.5
) -> np.ndarray:
    """Lay the colours of the labels (H, W) over an RGB picture (H, W, 3).

    Example:
        >>> overlay(np.zeros((1, 1, 3), np.uint8), np.array([[1]]), [[0, 0, 0], [200, 100, 0]]).tolist()
        [[[100, 50, 0]]]
    """
    colours = np.asarray(palette, np.float32)[labels]
    return (picture * np.float32(1 - opacity) + colours * np.float32(opacity) + 0.5).astype(np.uint8)
