"""Work out what a difference between two models is worth, by two intervals.

* *Seeds.* Would other trainings give the gain again, on these validation images? :func:`over_seeds`.
* *Images.* Would other images of the same kind give it, for these trained networks? :func:`over_images`.

A gain is called shown where the 95 % interval does not hold zero. Neither interval says what other data would give.

Shape legend: S seeds that both models have, N validation images, K classes.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .confusion import metrics_of, nanmean

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A difference, ours minus the baseline's, with its interval, in the units of the metric.

    ``low`` and ``high`` are None where there is no interval. ``probability`` is that of a gain above zero, as the
    function says that made it; ``p_value`` is two-sided, of no difference.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    p_value: float | None = None

    @property
    def verdict(self) -> str:
        """Say in words what the interval shows.

        Example:
            >>> Interval(0.2, -0.1, 0.5).verdict, Interval(0.2, 0.1, 0.3).verdict, Interval(-2, -3, -1).verdict
            ('not shown', 'gain shown', 'loss shown')
        """
        if self.low is None or self.high is None:
            return 'no interval'
        if self.low <= 0 <= self.high:
            return 'not shown'
        return 'gain shown' if self.low > 0 else 'loss shown'


def mean_std(values: ArrayLike) -> tuple[float, float | None]:
    """Return mean and standard deviation over seeds (n - 1 in the denominator); None for that of one seed.

    Example:
        >>> mean_std([77, 78, 79])
        (78.0, 1.0)
    """
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else None


def _paired(ours: ArrayLike, baseline: ArrayLike) -> NDArray:
    """Differences, seed by seed, of the seeds that have both."""
    differences = np.asarray(ours, float) - np.asarray(baseline, float)
    return differences[~np.isnan(differences)]


def over_seeds(ours: ArrayLike, baseline: ArrayLike) -> Interval:
    """Compare two models seed by seed, by a paired t test.

    The interval covers the mean difference over all seeds there could be, on these validation images, if the
    differences are about normal. ``probability`` is that of a true mean above zero, given nothing but the
    differences (the t distribution around their mean).

    Args:
        ours: (S,) metric of the model, one number a seed. Seeds in which either is NaN are left out.
        baseline: (S,) metric of the baseline, of the same seeds in the same order.

    Returns:
        The mean difference. Of one seed, without an interval; of none, NaN.

    Example:
        >>> result = over_seeds([77.9, 77.4, 77.8], [77.3, 77.2, 77.5])
        >>> f'{result.difference:.3f} [{result.low:.3f}, {result.high:.3f}] {result.verdict}'
        '0.367 [-0.150, 0.884] not shown'
    """
    differences = _paired(ours, baseline)
    mean = float(differences.mean()) if differences.size else float('nan')
    if differences.size < 2:
        return Interval(mean)
    if np.ptp(differences) == 0:  # t is 0/0 or infinite
        return Interval(mean, mean, mean, (np.sign(mean) + 1) / 2, float(mean == 0))
    test = stats.ttest_1samp(differences, 0)
    low, high = test.confidence_interval(LEVEL)
    probability = stats.t.cdf(test.statistic, test.df)
    return Interval(mean, float(low), float(high), float(probability), float(test.pvalue))


def seeds_needed(ours: ArrayLike, baseline: ArrayLike, power: float = 0.8, most: int = 10_000) -> int | None:
    """Count the seeds that would settle it: a two-sided 5 % paired t test with this power.

    The mean and the standard deviation of the differences are taken for the true ones: with few seeds a rough number.

    Returns:
        The smallest number, or None where it is above ``most`` or there are fewer than two seeds.

    Example:
        >>> seeds_needed([1.0, 2.0, 3.0], [0.5, 1.0, 1.5])  # differences 0.5, 1.0, 1.5: effect size 2
        5
    """
    differences = _paired(ours, baseline)
    if differences.size < 2 or differences.mean() == 0:
        return None
    if np.ptp(differences) == 0:
        return 2
    sizes = np.arange(2, most + 1)
    noncentrality = abs(differences.mean()) / differences.std(ddof=1) * np.sqrt(sizes)
    threshold = stats.t.ppf((1 + LEVEL) / 2, sizes - 1)
    # Where the effect is huge scipy has no number for the noncentral t: there the power is 1.
    reached = np.nan_to_num(stats.nct.sf(threshold, sizes - 1, noncentrality), nan=1.0) >= power
    return int(sizes[reached.argmax()]) if reached.any() else None


def over_images(ours: ArrayLike, baseline: ArrayLike, draws: int = 9999, seed: int = 0) -> list[Interval]:
    """Compare two models by a paired bootstrap over validation images, within seeds.

    Each draw takes N images with replacement, the same ones for both models and all seeds: seeds share their
    images, so drawing anew for each would make the interval too small. Pixels are summed over the drawn images, the
    metrics worked out from the sums, and the differences averaged over seeds. The percentile interval covers the
    difference over all images of this kind, for these trained networks. ``probability`` is the share of draws above 0.

    Args:
        ours: (S, N, 3, K) areas of the model.
        baseline: (S, N, 3, K) areas of the baseline, of the same seeds and images in the same order.
        draws: Number of draws.
        seed: Of the random numbers.

    Returns:
        K + 3 intervals: mIoU, mAcc, aAcc, then the IoU of each class. A draw in which a class has no pixels says
        nothing about that class.

    Raises:
        ValueError: For areas of different shapes or of no image.
    """
    both = [np.asarray(areas, float) for areas in (ours, baseline)]
    if both[0].shape != both[1].shape or both[0].ndim != 4 or not both[0].shape[1]:
        raise ValueError(f'areas must be two times (S, N, 3, K), got {both[0].shape} and {both[1].shape}')
    images = np.arange(both[0].shape[1])

    def differences(index: NDArray, axis: int = -1) -> NDArray:
        counts = [np.bincount(row, minlength=images.size) for row in index.reshape(-1, images.size)]
        each = [_metrics(np.tensordot(np.array(counts, float), areas, (1, 1))) for areas in both]  # (draws, S, K + 3)
        return np.moveaxis(nanmean(each[0] - each[1], 1).reshape(*index.shape[:-1], -1), -1, 0)

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', stats.DegenerateDataWarning)  # NaN, or all draws equal
        sample = stats.bootstrap((images,), differences, n_resamples=draws, batch=500, method='percentile', rng=seed)
    return [_percentile(*pair) for pair in zip(differences(images), sample.bootstrap_distribution, strict=True)]


def _metrics(areas: NDArray) -> NDArray:
    *means, classes = metrics_of(areas)
    return np.concatenate([np.stack(means, -1), classes], -1)


def _percentile(observed: float, drawn: NDArray) -> Interval:
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return Interval(float(observed))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Ties count half: two equal models have a probability of one half.
    probability = ((drawn > 0).mean() + (drawn >= 0).mean()) / 2
    # The data count as one draw more: a p-value from draws is never zero.
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p_value = min(1.0, 2 * (tail + 1) / (drawn.size + 1))
    return Interval(float(observed), float(low), float(high), float(probability), float(p_value))


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
