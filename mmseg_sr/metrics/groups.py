"""Name images, and the group of each, its city or drive, by their paths."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

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
