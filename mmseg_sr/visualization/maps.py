"""Maps (h, w) drawn over the extent of a picture, or in cells of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

SMALL = 8  # points


@dataclass
class Picture:
    """An image to draw: its name, colours (height, width, 3), and the predicted class of each pixel of it."""

    name: str
    image: NDArray
    prediction: NDArray


def row_height(pictures: Sequence[Picture]) -> float:
    """Inches for a row of maps 1.9 inches wide, with its title."""
    height, width = max((picture.image.shape[:2] for picture in pictures), key=lambda size: size[0] / size[1])
    return min(1.9 * height / width, 4) + 0.4


def show_picture(ax: Axes, image: NDArray, name: str) -> None:
    """Draw a picture; a long name loses its middle."""
    ax.imshow(image)
    ax.set_title(name if len(name) <= 30 else f'{name[:14]}…{name[-14:]}', fontsize=SMALL)
    ax.set_axis_off()


def show(ax: Axes, values: NDArray, picture: Picture | None, name: str, **options) -> AxesImage:
    """Draw a map over the extent of its picture in pixels or, without one, in its own cells."""
    height, width = picture.image.shape[:2] if picture is not None else values.shape
    shown = ax.imshow(values, extent=(0, width, height, 0), interpolation='nearest', **options)
    ax.set_title(name, fontsize=SMALL)
    ax.set_axis_on()
    ax.tick_params(labelsize=6)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3, integer=True))
    return shown


def show_signed(ax: Axes, values: NDArray, picture: Picture | None, name: str, limit: float) -> AxesImage:
    """Draw a map whose sign counts, white at zero: from blue to red for -limit to limit, with dots where negative."""
    limit = limit or 1
    shown = show(ax, values, picture, name, cmap='RdBu_r', vmin=-limit, vmax=limit)
    step = -(-values.shape[1] // 32)  # dots of their own down to 32 a row
    rows, columns = np.nonzero(values[::step, ::step] < 0)
    left, right, bottom, top = shown.get_extent()
    x = left + (columns * step + 0.5) * (right - left) / values.shape[1]
    y = top + (rows * step + 0.5) * (bottom - top) / values.shape[0]
    ax.plot(x, y, 'ko', markersize=2.2, markeredgecolor='white', markeredgewidth=0.4)
    return shown


def colour_bar(figure: Figure, shown: AxesImage, axes: Axes | NDArray, label: str) -> None:
    """Set a colour bar beside one or several axes, with small and large numbers as powers of ten."""
    exponent = ScalarFormatter(useMathText=True)
    exponent.set_powerlimits((-3, 4))
    bar = figure.colorbar(shown, ax=axes, format=exponent, shrink=0.9, pad=0.01)
    bar.set_label(label, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.yaxis.get_offset_text().set_fontsize(SMALL)
