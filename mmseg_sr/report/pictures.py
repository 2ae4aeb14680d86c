"""Label maps painted by class, pixels that two networks predict differently, and maps drawn over their picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import ScalarFormatter
from numpy.typing import ArrayLike, NDArray

SAME, BETTER, WORSE, VOID = 0, 1, 2, 3
BLUE, ORANGE, BLACK = (0, 114, 178), (230, 120, 0), (0, 0, 0)  # told apart by colour-blind people too
SMALL = 8  # points of text
INK = '#101010'  # on what is light in a dark page too, where the page replaces black


@dataclass
class Picture:
    """An image to draw: its name, colours (height, width, 3), and a segmentor's prediction, the class of each pixel."""

    name: str
    image: NDArray
    prediction: NDArray | None = None


def colour(labels: NDArray, palette: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """Paint a label map (H, W) with a palette (classes, 3): an RGB picture (H, W, 3); void (no class) is black.

    Example:
        >>> colour(np.array([[1, 255]]), [[9, 9, 9], [1, 2, 3]]).tolist()
        [[[1, 2, 3], [0, 0, 0]]]
    """
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours[labels]


def changed_pixels(truth: ArrayLike, ours: ArrayLike, theirs: ArrayLike) -> NDArray[np.uint8]:
    """Mark where a network is right and its baseline wrong (``BETTER``), or the other way round (``WORSE``).

    Maps are (height, width). Other pixels are ``SAME``, or ``VOID`` where the ground truth has no class (255).
    """
    truth, ours, theirs = np.asarray(truth), np.asarray(ours), np.asarray(theirs)
    if not truth.shape == ours.shape == theirs.shape:
        raise ValueError(f'label maps of different sizes: {truth.shape}, {ours.shape}, {theirs.shape}')
    cases = [truth == 255, (ours == truth) & (theirs != truth), (ours != truth) & (theirs == truth)]
    return np.select(cases, [VOID, BETTER, WORSE], SAME).astype(np.uint8)


def shares(changes: NDArray[np.uint8]) -> str:
    """Say how many percent of the labelled pixels are better and worse."""
    same, better, worse, _ = np.bincount(changes.ravel(), minlength=4).tolist()
    labelled = same + better + worse
    if not labelled:
        return 'no pixel is labelled'
    share, other = 100 * better / labelled, 100 * worse / labelled
    return f'{share:.2f} % of the labelled pixels better (blue), {other:.2f} % worse (orange)'


def paint_changes(changes: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint changes (height, width) over a pale image (height, width, 3): blue better, orange worse, black void."""
    pale = 150 + 0.4 * (image.mean(-1) // 16 * 16)  # few greys: the picture is a small file
    painted = np.repeat(pale[..., None], 3, axis=-1).astype(np.uint8)
    for kind, ink in ((BETTER, BLUE), (WORSE, ORANGE), (VOID, BLACK)):
        painted[changes == kind] = ink
    return painted


def row_height(pictures: Sequence[Picture]) -> float:
    """Work out the inches of a row of maps 1.9 inches wide, with its title."""
    height, width = max((picture.image.shape[:2] for picture in pictures), key=lambda size: size[0] / size[1])
    lines = max(picture.name.count('\n') for picture in pictures)
    return min(1.9 * height / width, 4) + 0.5 + 0.2 * lines


def show_picture(ax: Axes, image: NDArray, name: str) -> None:
    """Draw a picture; a long line of its name loses its end."""
    ax.imshow(image)
    lines = [line if len(line) <= 24 else f'{line[:23]}…' for line in name.splitlines()]
    ax.set_title('\n'.join(lines), fontsize=SMALL)
    ax.set_axis_off()


def show(ax: Axes, values: NDArray, picture: Picture | None, name: str, **options) -> AxesImage:
    """Draw a map over the extent of its picture in pixels or, without one, in its own cells."""
    height, width = picture.image.shape[:2] if picture is not None else values.shape
    shown = ax.imshow(values, extent=(0, width, height, 0), interpolation='nearest', **options)
    ax.set_title(name, fontsize=SMALL)
    ax.set_axis_on()
    ax.tick_params(labelsize=SMALL)
    ax.locator_params(nbins=3, integer=True)
    return shown


def show_signed(ax: Axes, values: NDArray, picture: Picture | None, name: str, limit: float) -> AxesImage:
    """Draw a map whose sign counts, white at zero: from blue to red for -limit to limit, with dots where negative."""
    limit = limit or 1
    shown = show(ax, values, picture, name, cmap='RdBu_r', vmin=-limit, vmax=limit)
    step = -(-values.shape[1] // 32)  # separate dots, up to 32 a row
    rows, columns = np.nonzero(values[::step, ::step] < 0)
    left, right, bottom, top = shown.get_extent()
    x = left + (columns * step + 0.5) * (right - left) / values.shape[1]
    y = top + (rows * step + 0.5) * (bottom - top) / values.shape[0]
    ax.plot(x, y, 'o', color=INK, markersize=2.2, markeredgecolor='white', markeredgewidth=0.4)
    return shown


def colour_bar(figure: Figure, shown: AxesImage, axes: Axes | Sequence, label: str) -> None:
    """Set a colour bar below one or several axes, with small and large numbers as powers of ten."""
    exponent = ScalarFormatter(useMathText=True)
    exponent.set_powerlimits((-3, 4))
    thin = 5 * figure.get_figwidth()
    bar = figure.colorbar(shown, ax=axes, format=exponent, shrink=0.9, pad=0.01, location='bottom', aspect=thin)
    bar.set_label(label, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.xaxis.get_offset_text().set_fontsize(SMALL)
