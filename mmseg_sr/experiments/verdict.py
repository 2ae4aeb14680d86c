"""Answer the primary question of an experiment: is an arm better than its baseline, and is that its SR blocks' doing?

The answer has one of four forms, and a reason:

* *gain shown, and the block's*;
* *gain shown, but not shown to be the block's*;
* *not shown*;
* *2 seeds: no verdict*, with fewer than three.

A gain is shown over seeds, by a paired t test, corrected for the number of arms in the question (Holm). It is the
block's where both hold at the same level: to take the SR blocks out of the trained networks costs more than half of it,
and each control arm is worse than the arm. A loss is a gain below zero: without its blocks the network is better.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..metrics.intervals import LEAST_SEEDS, LEVEL, Interval, holm, over_seeds


@dataclass(frozen=True)
class Trained:
    """Scores of an arm's networks, in percent, one a seed, NaN where there is none; all lists are of the same seeds."""

    ours: Sequence[float]
    baseline: Sequence[float]
    removed: Sequence[float] | None = None  # the same networks without their SR blocks; None where they have none
    controls: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The answer for an arm. ``interval`` is at the level at which Holm's method tests the arm, so they agree."""

    form: str
    reason: str
    interval: Interval
    p_corrected: float | None
    removal: Interval | None = None  # what the trained networks lose without their blocks


def verdicts(arms: Mapping[str, Trained], asked: int) -> dict[str, Verdict]:
    """Answer for each arm a question about ``asked`` arms; those that have not been run yet count.

    Example:
        >>> trained = Trained(ours=[41.0, 41.2, 40.9], baseline=[40.0, 40.1, 40.0], removed=[39.8, 40.0, 39.9])
        >>> verdicts({'SR': trained}, asked=1)['SR'].form
        "gain shown, and the block's"
    """
    gains = {name: over_seeds(arm.ours, arm.baseline) for name, arm in arms.items()}
    enough = (name for name in arms if _pairs(arms[name]) >= LEAST_SEEDS)
    tests = {name: 1.0 if gains[name].p_value is None else gains[name].p_value for name in enough}
    corrected = dict(zip(tests, holm([*tests.values(), *[1.0] * (asked - len(tests))]), strict=False))
    return {name: _verdict(arm, gains[name], corrected.get(name)) for name, arm in arms.items()}


def _pairs(arm: Trained) -> int:
    return int(np.isfinite(np.subtract(arm.ours, arm.baseline)).sum())


def _verdict(arm: Trained, gain: Interval, p_corrected: float | None) -> Verdict:
    removal = None if arm.removed is None else over_seeds(arm.ours, arm.removed)
    if p_corrected is None:
        count = _pairs(arm)
        form = f'{count} seed{"s" * (count != 1)}: no verdict'
        return Verdict(form, f'a verdict needs {LEAST_SEEDS}', gain, None, removal)
    if gain.low is None:
        reason = 'all seeds differ by the same number, which does not tell how others would'
        return Verdict('not shown', reason, gain, p_corrected, removal)
    level = 1 - (1 - LEVEL) * (gain.p_value / p_corrected if p_corrected else 1)
    interval = over_seeds(arm.ours, arm.baseline, level)
    if p_corrected >= 1 - LEVEL:
        return Verdict('not shown', 'the interval holds zero', interval, p_corrected, removal)
    kind = 'gain' if gain.difference > 0 else 'loss'
    doubts = list(_doubts(arm, kind, level))
    if doubts:
        return Verdict(f"{kind} shown, but not shown to be the block's", doubts[0], interval, p_corrected, removal)
    reason = 'more than half of it goes with the SR blocks'
    return Verdict(f"{kind} shown, and the block's", reason, interval, p_corrected, removal)


def _doubts(arm: Trained, kind: str, level: float) -> Iterator[str]:
    """Yield reasons not to put a shown difference down to the SR blocks."""
    sign = 1 if kind == 'gain' else -1
    if arm.removed is None:
        yield 'the network has no SR block'
        return
    removed = np.asarray(arm.removed, float)
    if np.isfinite(removed - arm.ours).sum() < LEAST_SEEDS:
        yield 'it was not tested without its SR blocks'
        return
    half = (np.asarray(arm.ours) + arm.baseline) / 2
    if not _above(sign * half, sign * removed, level):
        yield 'half of it or more stays without the SR blocks, or may'
    for name, control in arm.controls.items():
        if not _above(sign * np.asarray(arm.ours), sign * np.asarray(control, float), level):
            yield f'the control arm {name} has it too, or may'


def _above(ours: np.ndarray, other: np.ndarray, level: float) -> bool:
    low = over_seeds(ours, other, level).low
    return low is not None and low > 0
