"""Predictions of image files: in batches, taken up where they were stopped, and not stopped by one that is damaged."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import UserError
from .outputs import is_whole, overlay, write_image
from .predict import Predictor
from .preparation import read_picture

IMAGES = {'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'}


@dataclass
class Report:
    """What became of the pictures: ``written``, ``skipped`` (done before), ``failed`` with the reason."""

    written: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def find_images(source: Path) -> dict[str, Path]:
    """An image file, or all below a folder, by the names of their predictions: path in the folder, without suffix.

    Raises:
        UserError: Where there is none, or two would have the same name.
    """
    if not source.is_dir():
        return {source.stem: source}
    paths = sorted(path for path in source.rglob('*') if path.suffix.lower() in IMAGES and not _hidden(path, source))
    if not paths:
        raise UserError(f'{source} has no images ({", ".join(sorted(IMAGES))})')
    found: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(source).with_suffix('').as_posix()
        if name in found:
            raise UserError(f'the predictions of {found[name]} and {path} would have the same name')
        found[name] = path
    return found


def predict_pictures(
    predictor: Predictor,
    pictures: dict[str, Path],
    out: Path,
    batch: int = 1,
    opacity: float = 0.5,
    progress: Callable[[Iterable], Iterable] = iter,
    complain: Callable[[str], None] = print,
) -> Report:
    """Write label map and overlay of each picture that does not have them yet.

    Args:
        predictor: Gives the label maps.
        pictures: What :func:`find_images` found.
        out: Folder, see :mod:`.outputs`.
        batch: How many images go through the network at once; neighbours of the same size do.
        opacity: Of the overlay's colours.
        progress: Goes round the names, to show how far it is.
        complain: Gets a line for each picture that failed.

    Returns:
        What became of them. A picture that cannot be read, or that the network does not take, stops no other.
    """
    report = Report()
    for group in _batches(_prepared(predictor, pictures, out, progress, complain, report), batch):
        labels = predictor([image for _, _, image in group], [picture.shape[:2] for _, picture, _ in group])
        for (name, picture, _), each in zip(group, labels, strict=True):
            write_image(out / f'labels/{name}.png', each)
            write_image(out / f'overlays/{name}.png', overlay(picture, each, predictor.card.palette, opacity))
            report.written += 1
    return report


Prepared = tuple[str, np.ndarray, np.ndarray]


def _prepared(
    predictor: Predictor,
    pictures: dict[str, Path],
    out: Path,
    progress: Callable[[Iterable], Iterable],
    complain: Callable[[str], None],
    report: Report,
) -> Iterator[Prepared]:
    """Name, picture and image of what is to be predicted; the rest goes into the report."""
    for name in progress(pictures):
        if all(is_whole(out / f'{kind}/{name}.png') for kind in ('labels', 'overlays')):
            report.skipped += 1
            continue
        try:
            picture = read_picture(pictures[name])
            yield name, picture, predictor.prepared(picture)
        except UserError as error:
            path, reason = str(pictures[name]), str(error)
            report.failed[path] = reason
            complain(reason if path in reason else f'{path}: {reason}')


def _batches(prepared: Iterable[Prepared], count: int) -> Iterator[list[Prepared]]:
    """Neighbours whose images have the same size, at most ``count`` at once."""
    group: list[Prepared] = []
    for each in prepared:
        if group and (len(group) == count or each[2].shape != group[0][2].shape):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith('.') for part in path.relative_to(folder).parts)
