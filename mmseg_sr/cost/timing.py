"""Time things fairly: in turn, so that whatever else the machine does meets all of them."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy import stats

from ..progress import Bar


def in_turn(
    functions: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2, show: bool = False
) -> dict[str, np.ndarray]:
    """Call each function once a round, in changing order, and measure its wall time, work on a CUDA device included.

    Returned are seconds (rounds,) by name; of ``warmup`` rounds before those no time is taken. ``show`` draws a bar.

    Example:
        >>> seconds = in_turn({'nothing': lambda: None, 'a sum': lambda: sum(range(10_000))}, rounds=5)
        >>> seconds['nothing'].shape, bool((seconds['a sum'] > 0).all())
        ((5,), True)
    """
    seconds, names = {name: [] for name in functions}, list(functions)
    for turn in Bar(range(-warmup, rounds), 'time', disable=not show, leave=False, unit='round'):
        # Rotated, so that nobody always follows the same neighbour, whose memory lies in the caches.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            _wait()
            start = time.perf_counter()
            functions[name]()
            _wait()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(taken) for name, taken in seconds.items()}


def ratio(seconds: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Compare the seconds of two functions (rounds,): the median over the rounds of one to the other.

    ``low`` and ``high`` are the bounds of its 95 % interval, from resampled rounds (percentile bootstrap).

    Example:
        >>> ratio(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
        {'ratio': 2.0, 'low': 2.0, 'high': 2.0}
    """
    rounds = np.asarray(seconds) / np.asarray(reference)
    low = high = middle = float(np.median(rounds))
    if np.ptp(rounds):  # scipy has no interval for rounds that are all the same
        drawn = stats.bootstrap((rounds,), np.median, n_resamples=2000, method='percentile', rng=0)
        low, high = map(float, drawn.confidence_interval)
    return {'ratio': middle, 'low': low, 'high': high}


def spread(seconds: np.ndarray) -> dict[str, float]:
    """Compute median and quartiles in milliseconds.

    Example:
        >>> spread(np.array([0.001, 0.002, 0.003]))
        {'median_ms': 2.0, 'q1_ms': 1.5, 'q3_ms': 2.5}
    """
    q1, median, q3 = (round(float(each), 4) for each in 1e3 * np.percentile(seconds, [25, 50, 75]))
    return {'median_ms': median, 'q1_ms': q1, 'q3_ms': q3}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
