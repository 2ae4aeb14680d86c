"""Figures and pictures as parts of an HTML page: inline, with a text in their place, and in the page's colours."""

import base64
import io
import re
from collections.abc import Mapping

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

NO_METADATA = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
WIDEST = 640  # pixels of a picture
DPI = 110  # of figures with many pixels


def inline_svg(figure: Figure, name: str, alt: str, colours: Mapping[str, str] | None = None) -> Markup:
    """Turn a chart into an SVG element. Black becomes the colour of the text around it.

    Args:
        figure: The chart.
        name: Of its own in the page, for the ids in it; letters, digits and -.
        alt: What it shows, in words.
        colours: Other colours to replace, ``#rrggbb``, by CSS colours such as ``var(--gain)``.

    Example:
        >>> inline_svg(Figure(), 'empty', 'a < b').startswith('<svg role="img" aria-label="a &lt; b" ')
        True
    """
    file = io.StringIO()
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
        figure.savefig(file, format='svg', transparent=True, metadata=NO_METADATA)
    text = file.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<style.*?</style>|<!--.*?-->', '', text, flags=re.DOTALL)
    text = re.sub(r' (?:id="|xlink:href="#|clip-path="url\(#)', rf'\g<0>{name}-', text)
    for colour, css in {'#000000': 'currentColor', **(colours or {})}.items():
        text = text.replace(colour, css)
    head, _, rest = text.partition('>')
    (view,) = re.findall(r'viewBox="[^"]*"', head)
    return Markup(f'<svg role="img" aria-label="{escape(alt)}" fill="currentColor" {view}>{rest}'.strip())


def photograph(image: NDArray[np.uint8], alt: str) -> Markup:
    """Turn a picture (height, width, 3) into an image element: JPEG, at most ``WIDEST`` pixels wide."""
    picture = Image.fromarray(image)
    return _element(picture.resize(_size(picture), Image.Resampling.LANCZOS), alt, 'jpeg', quality=85)


def painting(image: NDArray[np.uint8], alt: str) -> Markup:
    """Turn a picture of few colours (height, width, 3) into an image element, without loss of any.

    One that is wider than ``WIDEST`` pixels loses pixels, and mixes none.
    """
    picture = Image.fromarray(image)
    picture = picture.resize(_size(picture), Image.Resampling.NEAREST)
    if picture.getcolors(256):
        picture = picture.convert('P', palette=Image.Palette.ADAPTIVE, colors=256)
    return _element(picture, alt, 'png', optimize=True)


def drawing(figure: Figure, alt: str) -> Markup:
    """Turn a figure with many pixels into an image element, on white: WebP without loss, half the size of PNG."""
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=DPI, facecolor='white')
    return _element(Image.open(file).convert('RGB'), alt, 'webp', lossless=True)


def _size(picture: Image.Image) -> tuple[int, int]:
    scale = min(1, WIDEST / picture.width)
    return round(picture.width * scale), max(1, round(picture.height * scale))


def _element(picture: Image.Image, alt: str, kind: str, **options) -> Markup:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    source = f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'
    return Markup(f'<img src="{source}" width="{picture.width}" height="{picture.height}" alt="{escape(alt)}">')
