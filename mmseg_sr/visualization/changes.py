"""Pixels that one network gets right and another wrong. Arrays in, arrays out."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
