"""Drawn streets with their label maps, as tools/make_mini_cityscapes.py makes them."""

from pathlib import Path

from mmseg_sr.datasets.cityscapes import prepare
from mmseg_sr.mini_cityscapes import draw_mini_cityscapes


def make_mini_cityscapes(root: Path, **arguments: object) -> dict[str, int]:
    """Draw the streets and make their label maps; return the number of frames of each split."""
    draw_mini_cityscapes(root, **arguments)
    return prepare([root], root, subset=True)
