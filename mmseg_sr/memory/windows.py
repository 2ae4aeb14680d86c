"""mmseg's sliding windows: where they lie in an image, and their maps put together."""

from itertools import product

import numpy as np
import torch
from torch import Tensor


def spans(size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Lay windows over an image as mmseg does: row by row, the last ones of a row and a column end with the image.

    All are (height, width); the window is cut to an image that is smaller. Returned are rows and columns of each.

    Example:
        >>> [(columns.start, columns.stop) for _, columns in spans((4, 10), window=(4, 4), stride=(4, 4))]
        [(0, 4), (4, 8), (6, 10)]
    """
    lines = []
    for side, length, step in zip(size, window, stride, strict=True):
        count = max(side - length + step - 1, 0) // step + 1
        ends = [min(index * step + length, side) for index in range(count)]
        lines.append([slice(max(end - length, 0), end) for end in ends])
    return list(product(*lines))


def stitch(maps: Tensor, size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Make the map (h, w) of an image from those of its windows, to the nearest cell; the mean where they overlap.

    The maps (windows, h', w') come in the order of :func:`spans`, whose arguments in pixels the others are.

    Example:
        >>> stitch(torch.tensor([[[1.0, 1.0]], [[3.0, 3.0]]]), size=(8, 24), window=(8, 16), stride=(8, 8))
        tensor([[1., 2., 3.]])
    """
    height, width = maps.shape[-2:]
    cell = [min(window[0], size[0]) / height, min(window[1], size[1]) / width]
    total = maps.new_zeros(round(size[0] / cell[0]), round(size[1] / cell[1]))
    count = torch.zeros_like(total)
    for each, (rows, columns) in zip(maps, spans(size, window, stride), strict=True):
        # By their ends, as the image's: where starts were rounded, half a cell could become one that nobody shows.
        bottom, right = round(rows.stop / cell[0]), round(columns.stop / cell[1])
        place = np.s_[bottom - height : bottom, right - width : right]
        total[place] += each
        count[place] += 1
    return total / count
