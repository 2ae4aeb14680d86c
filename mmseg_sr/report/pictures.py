"""Pictures beside label maps: ground truth and what each network predicts."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray


def colour(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paint a label map (H, W) with a palette (classes, 3): an RGB picture (H, W, 3); void (no class) is black.

    Example:
        >>> colour(np.array([[1, 255]]), [[9, 9, 9], [1, 2, 3]]).tolist()
        [[[1, 2, 3], [0, 0, 0]]]
    """
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours[labels]


def prediction_grid(
    pictures: Sequence[np.ndarray],
    columns: dict[str, Sequence[np.ndarray]],
    palette: Sequence[Sequence[int]],
    void: Sequence[np.ndarray] | None = None,
) -> Figure:
    """Draw one row a picture: the picture, then one painted label map a column.

    Args:
        pictures: RGB pictures (H, W, 3), uint8.
        columns: Label maps (H, W) of every picture, by the column's title.
        palette: RGB colours of the classes.
        void: Masks (H, W), true where the ground truth has no class: drawn black in every column, since nothing
            is measured there.

    Returns:
        A figure two inches a row high.
    """
    rows, width = len(pictures), len(columns) + 1
    aspect = pictures[0].shape[1] / pictures[0].shape[0]
    figure = Figure(figsize=(2 * aspect * width, 2 * rows + 0.3), layout='constrained', facecolor='white')
    axes = figure.subplots(rows, width, squeeze=False)
    for row, picture in enumerate(pictures):
        axes[row, 0].imshow(picture)
        for column, maps in enumerate(columns.values(), start=1):
            labels = maps[row] if void is None else np.where(void[row], 255, maps[row])
            axes[row, column].imshow(colour(labels, palette), interpolation='nearest')
    for title, cell in zip(('picture', *columns), axes[0], strict=True):
        cell.set_title(title)
    for cell in axes.flat:
        cell.set_axis_off()
    return figure


SAME, BETTER, WORSE, VOID = 0, 1, 2, 3
BLUE, ORANGE, BLACK = (0, 114, 178), (230, 120, 0), (0, 0, 0)  # told apart by colour-blind people too
GREYS = 16  # few, so that the picture stays a small file


def changed_pixels(truth: ArrayLike, ours: ArrayLike, theirs: ArrayLike, ignore_index: int = 255) -> NDArray[np.uint8]:
    """Tell where a network is right and its baseline wrong, and the other way round.

    Args:
        truth: Class of each pixel (height, width); ``ignore_index`` where there is none.
        ours: What the network predicts (height, width).
        theirs: What the baseline predicts (height, width).
        ignore_index: Label that is not evaluated.

    Returns:
        ``BETTER``, ``WORSE``, ``SAME`` (both right, or both wrong in whatever way) or ``VOID`` (height, width).

    Raises:
        ValueError: For maps of different sizes.

    Example:
        >>> changed_pixels([[0, 0, 0, 0, 255]], [[0, 0, 1, 1, 0]], [[0, 1, 0, 2, 1]]).tolist()
        [[0, 1, 2, 0, 3]]
    """
    truth, ours, theirs = np.asarray(truth), np.asarray(ours), np.asarray(theirs)
    if not truth.shape == ours.shape == theirs.shape:
        raise ValueError(f'label maps of different sizes: {truth.shape}, {ours.shape}, {theirs.shape}')
    changes = np.full(truth.shape, SAME, np.uint8)
    changes[(ours == truth) & (theirs != truth)] = BETTER
    changes[(ours != truth) & (theirs == truth)] = WORSE
    changes[truth == ignore_index] = VOID
    return changes


def shares(changes: NDArray[np.uint8]) -> tuple[float, float] | None:
    """Percent of the labelled pixels that are better and worse; None where no pixel is labelled.

    Example:
        >>> shares(np.array([[BETTER, BETTER, WORSE, SAME, VOID]]))
        (50.0, 25.0)
    """
    labelled = np.count_nonzero(changes != VOID)
    if not labelled:
        return None
    better, worse = (float(100 * np.count_nonzero(changes == kind) / labelled) for kind in (BETTER, WORSE))
    return better, worse


def paint_changes(changes: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint changes (height, width) over a pale grey image (height, width, 3): blue better, orange worse, black void.

    Example:
        >>> paint_changes(np.array([[BETTER, VOID]]), np.zeros((1, 2, 3), np.uint8)).tolist()
        [[[0, 114, 178], [0, 0, 0]]]
    """
    step = 256 // GREYS
    pale = 150 + 0.4 * (image.mean(-1) // step * step)
    painted = np.repeat(pale[..., None], 3, axis=-1).astype(np.uint8)
    for kind, colour in ((BETTER, BLUE), (WORSE, ORANGE), (VOID, BLACK)):
        painted[changes == kind] = colour
    return painted
