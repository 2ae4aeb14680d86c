"""Name images and the group of each, its city or drive, by their paths, and leave groups out of sums in turn.

Shape legend: S seeds, N images, K classes, G groups.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ENOUGH = 5  # groups, and blocks of neighbours where there are fewer: see docs/numbers.md
AT_ONCE = 2**18  # numbers: ImageNet's 50,000 images, each a group by itself, would fill the memory
GROUPS = '[^/_]*[/_]'  # a city's folder, or a drive before the first underscore: Cityscapes, CamVid, IDD


def image_names(paths: Sequence[str]) -> list[str]:
    """Name images by their paths below the folder that all share; whole, where they share none.

    Example:
        >>> image_names(['/data/val/ulm/1.png', '/data/val/bonn/2.png'])
        ['ulm/1.png', 'bonn/2.png']
    """
    try:
        shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # several drives, or some from the working folder
        return [Path(path).as_posix() for path in paths]
    return [Path(os.path.relpath(path, shared)).as_posix() for path in paths]


def group_names(images: Sequence[str], expression: str = GROUPS) -> list[str]:
    """Read the group of each image, a city or drive, off its name: what a regular expression finds at its start.

    Names in which it finds nothing are one group.

    Example:
        >>> group_names(['ulm/ulm_000001_000019.png', '0016E5_07959.png', '0001.png'])
        ['ulm/', '0016E5_', '']
    """
    found = [re.match(expression, name) for name in images]
    return [each.group() if each else '' for each in found]


def blocks_of(groups: NDArray) -> NDArray:
    """Cut groups (N,) into blocks of neighbours: about ``ENOUGH`` in all, by the sizes of the groups."""
    units, place = np.empty_like(groups), 0
    for group in range(groups.max() + 1):
        (members,) = np.nonzero(groups == group)
        count = min(len(members), max(1, round(ENOUGH * len(members) / len(groups))))
        units[members] = place + np.arange(len(members)) * count // len(members)
        place += count
    return units


def sums_without(areas: NDArray, groups: NDArray) -> Iterator[NDArray]:
    """Sum whole numbers (S, N, 3, K) over the images outside of each group in turn: (G, S, 3, K), some groups at once.

    Groups (N,) are numbers from 0 on, none of them left out.

    Example:
        >>> areas = np.array([1, 10, 100]).reshape(1, 3, 1, 1)
        >>> [sums.ravel().tolist() for sums in sums_without(areas, np.array([0, 1, 0]))]
        [[10, 101]]
    """
    total, count = areas.sum(1), groups.max() + 1
    order = np.argsort(groups, kind='stable')
    starts = np.searchsorted(groups[order], np.arange(count + 1))
    step = max(1, AT_ONCE // total.size)
    for first in range(0, count, step):
        places = starts[first : first + step + 1]
        members = areas[:, order[places[0] : places[-1]]]
        own = np.add.reduceat(members, places[:-1] - places[0], axis=1, dtype=total.dtype)
        yield total - own.swapaxes(0, 1)
