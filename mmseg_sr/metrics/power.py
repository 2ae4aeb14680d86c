"""Work out how many seeds show a gain, and which gain some seeds show."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from .intervals import LEAST_SEEDS, LEVEL

POWER = 0.8  # in four of five experiments


def power(gain: float, std: float, seeds: ArrayLike, arms: int = 1) -> NDArray:
    """Return the probability that a two-sided paired t test shows a gain.

    Args:
        gain: True mean of the differences.
        std: True standard deviation of the differences between seeds.
        seeds: Number of pairs, two or more; any shape.
        arms: The level is 5 % divided by their number (Bonferroni): Holm's method is that for the first, or better.

    Example:
        >>> power(0.2, 0.3, [5, 20]).round(2)
        array([0.21, 0.81])
    """
    seeds = np.asarray(seeds)
    noncentrality = abs(gain) / std * np.sqrt(seeds)
    threshold = stats.t.ppf(1 - (1 - LEVEL) / 2 / arms, seeds - 1)
    # Where the effect is huge scipy has no number for the noncentral t: there the power is 1.
    return np.nan_to_num(stats.nct.sf(threshold, seeds - 1, noncentrality), nan=1.0)


def seeds_needed(gain: float, std: float, arms: int = 1, most: int = 10_000) -> int | None:
    """Count the seeds that show a gain in four of five experiments: :func:`power` of 0.8.

    A gain and a standard deviation from a few seeds are rough, and so is the number.

    Returns:
        The smallest number, or None where it is above ``most``.

    Example:
        >>> seeds_needed(1.0, 0.5), seeds_needed(1.0, 0.5, arms=9)
        (5, 8)
    """
    if gain == 0:
        return None
    if std == 0:
        return LEAST_SEEDS
    sizes = np.arange(LEAST_SEEDS, most + 1)
    reached = power(gain, std, sizes, arms) >= POWER
    return int(sizes[reached.argmax()]) if reached.any() else None


def least_gain(std: float, seeds: int, arms: int = 1) -> float:
    """Return the smallest gain that some seeds show in four of five experiments: :func:`power` of 0.8.

    Example:
        >>> f'{least_gain(0.3, 5):.2f}'
        '0.50'
    """
    return std * optimize.brentq(lambda size: power(size, 1.0, seeds, arms) - POWER, 0, 1000)
