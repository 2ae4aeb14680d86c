"""Work out what a difference between two models is worth, by two intervals.

* *Seeds.* Would other trainings give the difference again, on these validation images? :func:`over_seeds`.
* *Images.* How far do these trained networks differ on other images of this kind? :func:`over_images`.

Only the first is about the method that made the networks; neither says what other data would give.

Shape legend: S seeds that both models have, N validation images, K classes, G groups of images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .groups import ENOUGH, blocks_of, sums_without
from .tasks import metrics_of, nanmean

LEVEL = 0.95
LEAST_SEEDS = 3  # for a verdict: two agree by chance


@dataclass(frozen=True)
class Interval:
    """A difference, ours minus the baseline's, with its interval, in the units of the metric.

    ``low`` and ``high`` are None where there is no interval. ``p_value`` is two-sided, of no difference.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


def mean_std(values: ArrayLike) -> tuple[float, float | None]:
    """Return mean and standard deviation over seeds (n - 1 in the denominator); None for that of one seed.

    Example:
        >>> mean_std([77, 78, 79])
        (78.0, 1.0)
    """
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else None


def over_seeds(ours: ArrayLike, baseline: ArrayLike, level: float = LEVEL) -> Interval:
    """Compare two models seed by seed, by a paired t test.

    The interval covers the mean difference over all seeds there could be, on these validation images, if the
    differences are about normal.

    Args:
        ours: (S,) metric of the model, one number a seed. Seeds in which either is NaN are left out.
        baseline: (S,) metric of the baseline, of the same seeds in the same order.
        level: Of the interval.

    Returns:
        The mean difference. Of one seed, and where all seeds differ by the same number, without an interval; of no
        seed, NaN.

    Example:
        >>> result = over_seeds([77.9, 77.4, 77.8], [77.3, 77.2, 77.5])
        >>> f'{result.difference:.3f} [{result.low:.3f}, {result.high:.3f}], p {result.p_value:.3f}'
        '0.367 [-0.150, 0.884], p 0.093'
    """
    differences = np.asarray(ours, float) - np.asarray(baseline, float)
    differences = differences[~np.isnan(differences)]
    mean = float(differences.mean()) if differences.size else float('nan')
    if differences.size < 2:
        return Interval(mean)
    if np.ptp(differences) < 1e-9:  # none at all is no difference; a few images more at each seed tell no spread
        return Interval(0.0, 0.0, 0.0, 1.0) if abs(mean) < 1e-9 else Interval(mean)
    test = stats.ttest_1samp(differences, 0)
    low, high = test.confidence_interval(level)
    return Interval(mean, float(low), float(high), float(test.pvalue))


@dataclass(frozen=True)
class Resampling:
    """What was left out in turn for an interval over images: ``count`` groups, or blocks of neighbouring images.

    ``correlation`` is that of neighbours: of what an image makes of the difference in mIoU and what the next one in its
    group makes of it. None of fewer than four images, or where all make the same.
    """

    by: str
    count: int
    correlation: float | None


def over_images(
    ours: ArrayLike,
    baseline: ArrayLike,
    groups: Sequence[str] | None = None,
    score: Callable = metrics_of,
) -> tuple[list[Interval], Resampling]:
    """Compare two models over validation images, within seeds, by a paired jackknife.

    Images of one drive resemble each other, so groups of them are left out, not images: the groups that are given, or,
    where these are fewer than five, five blocks of neighbours. Each is left out once, for both models and all seeds:
    seeds share their images. Pixels are summed over the other images, the metrics worked out from the sums, and the
    differences averaged over seeds. Their spread makes the interval, by Student's t with one degree of freedom less
    than there are groups. It covers the difference over all images of this kind, for these trained networks.

    Args:
        ours: (S, N, 3, K) areas of the model.
        baseline: (S, N, 3, K) areas of the baseline, of the same seeds and images in the same order.
        groups: (N,) the group of each image, such as its city or drive, in which images stand in the order in which
            they were taken. The default is one group.
        score: Turns sums of areas into metrics, as of a :class:`.tasks.Task`, whose counts may stand for areas.

    Returns:
        An interval for each metric of ``score``: mIoU, mAcc, aAcc, then the IoU of each class; and what was left out.
        There is no interval for a class that is in no more than one of the groups.

    Raises:
        ValueError: For areas of different shapes or of no image.
    """
    both = [np.asarray(areas) for areas in (ours, baseline)]
    count = both[0].shape[1] if both[0].ndim == 4 else 0
    if both[0].shape != both[1].shape or not count:
        raise ValueError(f'areas must be two times (S, N, 3, K), got {both[0].shape} and {both[1].shape}')
    groups = np.unique(groups or [''] * count, return_inverse=True)[1]
    units, by = (groups, 'groups') if groups.max() + 1 >= ENOUGH else (blocks_of(groups), 'blocks of neighbours')

    def without_each(units: NDArray) -> NDArray:
        sums = zip(*(sums_without(areas, units) for areas in both), strict=True)
        return np.concatenate([_differences(score, *pair) for pair in sums])

    observed = _differences(score, *(areas.sum(1)[None] for areas in both))[0]
    without = without_each(units)
    of_images = without[units] if len(without) == count else without_each(np.arange(count))
    resampling = Resampling(by, len(without), _neighbours((of_images - observed)[:, 0], groups))
    return [_jackknife(*pair) for pair in zip(observed, without.T, strict=True)], resampling


def _neighbours(influence: NDArray, groups: NDArray) -> float | None:
    order = np.argsort(groups, kind='stable')
    first, second = order[:-1], order[1:]
    inside = groups[first] == groups[second]
    pair = influence[first[inside]], influence[second[inside]]
    if len(pair[0]) < 3 or min(map(np.ptp, pair)) == 0:
        return None
    return float(np.corrcoef(*pair)[0, 1])


def _differences(score: Callable, ours: NDArray, baseline: NDArray) -> NDArray:
    """Turn sums of areas (G, S, 3, K) of two models into differences (G, M) of M metrics, averaged over seeds."""

    def metrics(areas: NDArray) -> NDArray:
        *means, classes = score(areas)
        return np.concatenate([np.stack(means, -1), classes], -1)

    return nanmean(metrics(ours) - metrics(baseline), 1)


def _jackknife(observed: float, without: NDArray) -> Interval:
    count = len(without)
    if count < 2 or np.isnan(observed) or np.isnan(without).any():
        return Interval(float(observed))
    # Around the observed difference, not their mean: a little too wide rather than too narrow.
    error = np.sqrt((count - 1) / count * ((without - observed) ** 2).sum())
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * error
    return Interval(float(observed), float(observed - half), float(observed + half))


def holm(p_values: ArrayLike) -> list[float | None]:
    """Correct p-values for their number by Holm's method: the family-wise error rate, whatever their dependence.

    ``None`` and NaN are no tests, stay None and do not count.

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    p_values = np.asarray(p_values, float)
    tests = np.argsort(p_values)[: np.isfinite(p_values).sum()]  # NaN come last
    corrected = np.full(p_values.size, np.nan)
    corrected[tests] = np.maximum.accumulate(p_values[tests] * np.arange(tests.size, 0, -1)).clip(max=1)
    return [None if np.isnan(value) else float(value) for value in corrected]
