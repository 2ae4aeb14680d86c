"""Pictures beside label maps: ground truth and what each network predicts."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


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
