"""Predictions of image files in a folder. Files appear whole or not at all, so what is there is done.

DIR/predict.json             what made them: a folder is taken up again only by the same
DIR/labels/<name>.png        of a segmentor: ids of the classes, one byte a pixel
DIR/overlays/<name>.png      the picture, coloured
DIR/legend.png               which colour means which class
DIR/predictions.csv          of a classifier: the most likely classes of each picture
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

from ..atomic import check_folder, write_text
from ..datasets.build import read_picture
from ..datasets.classes import LEGEND
from ..errors import UserError
from ..progress import Bar
from .predict import Predictor
from .writers import LabelMaps, Rankings

IMAGES = {'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'}
RECORD = 'predict.json'


@dataclass
class Report:
    """Count the pictures ``written`` and ``skipped`` (done before); ``failed`` has the reason by the path."""

    written: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def find_images(source: Path) -> dict[str, Path]:
    """Find an image file, or all below a folder, by the names of their predictions: path in it, without suffix.

    What was predicted into a folder among them is not looked at. None at all, or two of one name, are a ``UserError``.
    """
    if not source.is_dir():
        return {source.stem: source}
    found: dict[str, Path] = {}
    made = [record.with_name(name) for record in source.rglob(RECORD) for name in (*LabelMaps.made, LEGEND)]
    for path in sorted(source.rglob('*')):
        inside = path.relative_to(source)
        if path.suffix.lower() not in IMAGES or any(part.startswith('.') for part in inside.parts):
            continue
        if any(path.is_relative_to(each) for each in made):
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
    made = (*LabelMaps.made, *Rankings.made)
    path, there = out / RECORD, [out / name for name in made if (out / name).exists()]
    text = json.dumps(record, indent=2) + '\n'
    if there and not path.exists():
        raise UserError(f'{there[0]} is there, and nothing says what made it: choose another --out')
    if overwrite:
        for each in there:
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    elif path.exists() and (differ := _differences(path, json.loads(text))):  # which has lists for tuples
        raise UserError(f'{out} has other predictions ({", ".join(differ)}): choose another --out, or --overwrite')
    write_text(path, text)


def _differences(path: Path, record: Mapping[str, object]) -> list[str]:
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
        return sorted(key for key in {*before, *record} if before.get(key) != record.get(key))
    except (AttributeError, OSError, TypeError, ValueError):
        return [f'{path.name} is damaged']


def predict_pictures(predictor: Predictor, pictures: Mapping, writer: LabelMaps | Rankings, batch: int) -> Report:
    """Predict each picture that the writer does not have yet, with a progress bar.

    ``pictures`` are paths by name. Up to ``batch`` neighbours of one size go through the network at once. A picture
    that cannot be read, or that the network does not take, is named on stderr.
    """
    report = Report()
    with writer:
        for _, same in groupby(_prepared(predictor, pictures, writer, report), key=lambda each: each[3].shape):
            while group := list(islice(same, batch)):
                answers = predictor([image for *_, image in group], [picture.shape[:2] for _, _, picture, _ in group])
                for (name, path, picture, _), answer in zip(group, answers, strict=True):
                    writer.write(name, path, picture, answer)
                    report.written += 1
    return report


def _prepared(predictor: Predictor, pictures: Mapping, writer: LabelMaps | Rankings, report: Report) -> Iterator[tuple]:
    """Name, path, picture and image of what is to be predicted; the rest goes into the report."""
    for name, path in Bar(pictures.items(), 'predict', unit='image'):
        if writer.has(name, path):
            report.skipped += 1
            continue
        try:
            picture = read_picture(path)
            yield name, path, picture, predictor.prepared(picture)
        except UserError as error:
            reason = report.failed[str(path)] = str(error)
            Bar.write(f'error: {reason}' if str(path) in reason else f'error: {path}: {reason}', file=sys.stderr)
