"""Parts of an HTML page: numbers and verdicts as text, figures and pictures as elements that need no other file."""

import base64
import io
import math
import os
import re

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from .charts import COLOURS

NONE, SPACE = '–', '\u00a0'  # for no number; before a unit, which stays on its line
CSS_COLOURS = {'#000000': 'currentColor', **{colour: f'var(--{name})' for name, colour in COLOURS.items()}}
NO_METADATA = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
WIDEST = 640  # pixels of a picture
TINY = 64  # pixels of a picture of which JPEG, which sees squares of 8 or 16, would leave little
IMAGE_DPI = 150  # of pictures within a figure


def number(value: float | None, form: str = '.2f', unit: str = '') -> str:
    """Write a number, by default with two digits behind the point; a dash for None.

    Example:
        >>> number(-1.234), number(None), number(0.094, '+.2f'), number(12.8449, '+.1f', '%')
        ('−1.23', '–', '+0.09', '+12.8\xa0%')
    """
    if value is None:
        return NONE
    return format(value, form).replace('-', '−') + (SPACE + unit if unit else '')


def signed(largest: float) -> str:
    """Choose the form that shows the sign and, of the largest of some numbers, three digits.

    Example:
        >>> signed(0.00151), signed(24.0), signed(0)
        ('+.5f', '+.1f', '+.2f')
    """
    return f'+.{max(0, 2 - math.floor(math.log10(abs(largest) or 1)))}f'


def interval(given: dict | None) -> str:
    """Write an interval of differences.

    Example:
        >>> interval({'low': -1.43, 'high': 1.62}), interval(None)
        ('−1.43 to +1.62', '–')
    """
    known = given and given['low'] is not None
    return f'{number(given["low"], "+.2f")} to {number(given["high"], "+.2f")}' if known else NONE


def relative(text: str) -> str:
    """Write the absolute paths in a text as they are from the current folder: the page tells no machine's folders.

    Example:
        >>> relative(f'python {os.getcwd()}/train.py --out "{os.path.dirname(os.getcwd())}/a b"')
        'python train.py --out "../a b"'
    """
    return re.sub(r'(?<![^\s\'"(=])/[^\s\'")/][^\s\'")]*', lambda path: os.path.relpath(path[0]), text)


def inline_svg(figure: Figure, name: str, alt: str) -> Markup:
    """Turn a chart into an SVG element, which ``alt`` describes; ``name`` makes the ids in it unique in the page.

    Black becomes the colour of the text around it, and the charts' colours those of the page's scheme.

    Example:
        >>> inline_svg(Figure(), 'empty', 'a < b').startswith('<svg role="img" aria-label="a &lt; b" ')
        True
    """
    file = io.StringIO()
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
        figure.savefig(file, format='svg', transparent=True, metadata=NO_METADATA, dpi=IMAGE_DPI)
    text = file.getvalue()
    text = re.sub(r'<style.*?</style>|<!--.*?-->| id="image\w+"', '', text[text.index('<svg') :], flags=re.DOTALL)
    text = re.sub(r' (?:id="|xlink:href="#|clip-path="url\(#)', rf'\g<0>{name}-', text)
    for colour, css in CSS_COLOURS.items():
        text = text.replace(colour, css)
    head, _, rest = text.partition('>')
    (view,) = re.findall(r'viewBox="[^"]*"', head)
    return Markup(f'<svg role="img" aria-label="{escape(alt)}" fill="currentColor" {view}>{rest}'.strip())


def photograph(image: NDArray[np.uint8], alt: str) -> Markup:
    """Turn a picture (height, width, 3) into an image element: at most ``WIDEST`` pixels wide, JPEG, or PNG if tiny."""
    if image.shape[1] <= TINY:
        return painting(image, alt)
    return _element(_shrink(image, Image.Resampling.LANCZOS), alt, 'jpeg', quality=85)


def painting(image: NDArray[np.uint8], alt: str) -> Markup:
    """Turn a picture of few colours (height, width, 3) into an image element that keeps each of them, and adds none."""
    picture = _shrink(image, Image.Resampling.NEAREST)
    if picture.getcolors(256):
        picture = picture.convert('P', palette=Image.Palette.ADAPTIVE, colors=256)
    return _element(picture, alt, 'png', optimize=True)


def _shrink(image: NDArray[np.uint8], how: Image.Resampling) -> Image.Image:
    picture = Image.fromarray(image)
    picture.thumbnail((WIDEST, picture.height), how, reducing_gap=None)
    return picture


def _element(picture: Image.Image, alt: str, kind: str, **options) -> Markup:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    source = f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'
    return Markup(f'<img src="{source}" width="{picture.width}" height="{picture.height}" alt="{escape(alt)}">')
