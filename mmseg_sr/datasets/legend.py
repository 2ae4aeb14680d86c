"""Draw which colour means which class, for folders of drawn predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..atomic import replacing

LEGEND = 'legend.png'
LINE, ROWS = 22, 25  # pixels of a line; lines of a column


def write_legend(folder: Path, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> None:
    """Write ``legend.png`` into a folder."""
    with replacing(folder / LEGEND) as partial:
        draw_legend(classes, palette).save(partial, 'png')


def draw_legend(classes: Sequence[str], palette: Sequence[Sequence[int]]) -> Image.Image:
    """Draw a line for each class, its colour before its name; many classes have several columns.

    Example:
        >>> draw_legend(['road', 'car'], [[128, 64, 128], [0, 0, 142]]).getpixel((12, 12))
        (128, 64, 128)
    """
    font = ImageFont.load_default(14)
    width = int(max(map(font.getlength, classes))) + 44
    size = (width * -(-len(classes) // ROWS), LINE * min(len(classes), ROWS) + 8)
    picture = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(picture)
    shades = np.broadcast_to(palette, (len(palette), 3)).tolist()  # some palettes have greys only
    for index, (name, colour) in enumerate(zip(classes, shades, strict=False)):
        column, row = divmod(index, ROWS)
        x, y = column * width + 8, row * LINE + 6
        draw.rectangle((x, y, x + 16, y + 16), tuple(colour), 'black')
        draw.text((x + 24, y + 8), name, 'black', font, anchor='lm')
    return picture
