"""Write what is predicted of pictures into a folder, and know what is there. Files appear whole or not at all."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic import replacing
from ..datasets.classes import write_legend
from ..errors import UserError
from .metadata import Metadata


class LabelMaps:
    """Write what a segmentor predicts: DIR/labels/NAME.png, DIR/overlays/NAME.png and DIR/legend.png."""

    made = ('labels', 'overlays')

    def __init__(self, out: Path, metadata: Metadata, opacity: float):
        self.out, self.metadata, self.opacity, self.any = out, metadata, opacity, False

    def __enter__(self) -> 'LabelMaps':
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None and self.any:
            write_legend(self.out, self.metadata.classes, self.metadata.palette)

    def has(self, name: str, path: Path) -> bool:
        """Tell whether what was predicted of a picture is there, all bytes of it."""
        found = all(_is_whole(self.out / folder / f'{name}.png') for folder in self.made)
        self.any |= found
        return found

    def write(self, name: str, path: Path, picture: np.ndarray, labels: np.ndarray) -> None:
        """Write the label map (H, W) of an RGB picture (H, W, 3), and the picture coloured by it."""
        _save(self.out / f'labels/{name}.png', labels + np.uint8(self.metadata.reduce_zero_label))
        _save(self.out / f'overlays/{name}.png', overlay(picture, labels, self.metadata.palette, self.opacity))
        self.any = True


class Rankings:
    """Keep what a classifier predicts, and write it to DIR/predictions.csv where there is a DIR.

    ``found`` has, by the path of each picture, rows of its most likely classes: rank, label, class, score. What was
    predicted until an interruption is written.
    """

    made = ('predictions.csv',)
    kinds = {'rank': int, 'label': int, 'class': str, 'score': float}  # of the columns that follow the image's

    def __init__(self, out: Path | None, metadata: Metadata):
        self.path, self.classes = out and out / self.made[0], metadata.classes
        self.found: dict[str, list[dict]] = {}

    def __enter__(self) -> 'Rankings':
        if self.path and self.path.exists():
            self.found = _read(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self.path and self.found:
            with replacing(self.path) as partial, partial.open('w', encoding='utf-8', newline='') as file:
                rows = csv.DictWriter(file, ('image', *self.kinds))
                rows.writeheader()
                rows.writerows({'image': name, **row} for name, found in self.found.items() for row in found)

    def has(self, name: str, path: Path) -> bool:
        """Tell whether a picture was predicted before."""
        return name + path.suffix in self.found

    def write(self, name: str, path: Path, picture: np.ndarray, ranking: Sequence[tuple[int, float]]) -> None:
        """Keep the most likely labels of a picture, with their probabilities."""
        self.found[name + path.suffix] = [
            {'rank': rank, 'label': label, 'class': self.classes[label], 'score': round(score, 6)}
            for rank, (label, score) in enumerate(ranking, 1)
        ]


def _read(path: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    try:
        with path.open(encoding='utf-8', newline='') as file:
            for row in csv.DictReader(file, strict=True):
                kept = {name: kind(row[name]) for name, kind in Rankings.kinds.items()}
                found.setdefault(row['image'], []).append(kept)
    except (csv.Error, KeyError, OSError, TypeError, ValueError) as error:
        raise UserError(f'{path} is damaged: predict anew by --overwrite') from error
    return found


def _is_whole(path: Path) -> bool:
    """Whether an image file is there and all of its bytes are."""
    try:
        with Image.open(path) as image:
            image.verify()
        return True
    except (OSError, SyntaxError, ValueError):
        return False


def _save(path: Path, pixels: np.ndarray) -> None:
    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial)


def overlay(picture: np.ndarray, labels: np.ndarray, palette: Sequence, opacity: float) -> np.ndarray:
    """Lay the colours of the labels (H, W) over an RGB picture (H, W, 3)."""
    colours = np.asarray(palette, np.float32)[labels]
    return (picture * np.float32(1 - opacity) + colours * np.float32(opacity) + 0.5).astype(np.uint8)
