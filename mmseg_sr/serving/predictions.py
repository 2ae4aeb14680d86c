"""Predictions of image files in a folder. Files appear whole or not at all, so what is there is done.

DIR/predict.json             what made them: a folder is taken up again only by the same
DIR/labels/<name>.png        ids of the classes, one byte a pixel
DIR/overlays/<name>.png      the picture, coloured
DIR/legend.png               which colour means which class
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic import check_folder, replacing, write_text
from ..datasets.build import read_picture
from ..datasets.legend import write_legend
from ..errors import UserError
from ..progress import Bar
from .predict import Predictor

IMAGES = {'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'}
FOLDERS = ('labels', 'overlays')
RECORD = 'predict.json'


@dataclass
class Report:
    """Count the pictures ``written`` and ``skipped`` (done before); ``failed`` has the reason by the path."""

    written: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def find_images(source: Path) -> dict[str, Path]:
    """Find an image file, or all below a folder, by the names of their predictions: path in it, without suffix.

    None at all, or two of one name, are a ``UserError``.
    """
    if not source.is_dir():
        return {source.stem: source}
    found: dict[str, Path] = {}
    for path in sorted(source.rglob('*')):
        inside = path.relative_to(source)
        if path.suffix.lower() not in IMAGES or any(part.startswith('.') for part in inside.parts):
            continue
        other = found.setdefault(inside.with_suffix('').as_posix(), path)
        if other != path:
            raise UserError(f'the predictions of {other} and {path} would have the same name')
    if not found:
        raise UserError(f'{source} has no images ({", ".join(sorted(IMAGES))})')
    return found


def claim(out: Path, record: Mapping[str, object], overwrite: bool = False) -> None:
    """Write down what makes the predictions of a folder; a folder with others is a ``UserError``.

    ``record`` is what changes predictions: the network, how it is used, the pictures' place. By ``overwrite`` the
    predictions that are there go first.
    """
    check_folder('--out', out)
    path, there = out / RECORD, [out / name for name in FOLDERS if (out / name).exists()]
    text = json.dumps(record, indent=2) + '\n'
    if there and not path.exists():
        raise UserError(f'{there[0]} is there, and nothing says what made it: choose another --out')
    if overwrite:
        for folder in there:
            shutil.rmtree(folder)
    elif path.exists() and (differ := _differences(path, json.loads(text))):  # which has lists for tuples
        raise UserError(f'{out} has other predictions ({", ".join(differ)}): choose another --out, or --overwrite')
    write_text(path, text)


def _differences(path: Path, record: Mapping[str, object]) -> list[str]:
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
        return sorted(key for key in {*before, *record} if before.get(key) != record.get(key))
    except (AttributeError, OSError, TypeError, ValueError):
        return [f'{path.name} is damaged']


def predict_pictures(predictor: Predictor, pictures: Mapping, out: Path, batch: int, opacity: float) -> Report:
    """Write label map and overlay of each picture that does not have them yet, with a progress bar, and a legend.

    ``pictures`` are paths by name. Up to ``batch`` neighbours of one size go through the network at once. A picture
    that cannot be read, or that the network does not take, is named on stderr.
    """
    report = Report()
    for _, same in groupby(_prepared(predictor, pictures, out, report), key=lambda each: each[2].shape):
        while group := list(islice(same, batch)):
            labels = predictor([image for _, _, image in group], [picture.shape[:2] for _, picture, _ in group])
            for (name, picture, _), each in zip(group, labels, strict=True):
                _write(out / f'labels/{name}.png', each + np.uint8(predictor.metadata.reduce_zero_label))
                _write(out / f'overlays/{name}.png', overlay(picture, each, predictor.metadata.palette, opacity))
                report.written += 1
    if report.written or report.skipped:
        write_legend(out, predictor.metadata.classes, predictor.metadata.palette)
    return report


def _prepared(predictor: Predictor, pictures: Mapping[str, Path], out: Path, report: Report) -> Iterator[tuple]:
    """Name, picture and image of what is to be predicted; the rest goes into the report."""
    for name, path in Bar(pictures.items(), 'predict', unit='image'):
        if all(_is_whole(out / folder / f'{name}.png') for folder in FOLDERS):
            report.skipped += 1
            continue
        try:
            picture = read_picture(path)
            yield name, picture, predictor.prepared(picture)
        except UserError as error:
            reason = report.failed[str(path)] = str(error)
            Bar.write(f'error: {reason}' if str(path) in reason else f'error: {path}: {reason}', file=sys.stderr)


def _is_whole(path: Path) -> bool:
    """Whether an image file is there and all of its bytes are."""
    try:
        with Image.open(path) as image:
            image.verify()
        return True
    except (OSError, SyntaxError, ValueError):
        return False


def _write(path: Path, pixels: np.ndarray) -> None:
    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial)


def overlay(picture: np.ndarray, labels: np.ndarray, palette: Sequence, opacity: float) -> np.ndarray:
    """Lay the colours of the labels (H, W) over an RGB picture (H, W, 3).

    Example:
        >>> overlay(np.zeros((1, 1, 3), np.uint8), np.array([[1]]), [[0, 0, 0], [200, 100, 0]], 0.5).tolist()
        [[[100, 50, 0]]]
    """
    colours = np.asarray(palette, np.float32)[labels]
    return (picture * np.float32(1 - opacity) + colours * np.float32(opacity) + 0.5).astype(np.uint8)
