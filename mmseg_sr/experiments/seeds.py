"""Say how many seeds an experiment needs, before it is run: what it can show, and how long it takes."""

import math
from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from ..metrics.power import least_gain, power, seeds_needed
from . import markdown, settings
from .plan import Arm, Experiment


def plan_seeds(
    exp: Experiment, rows: Sequence[dict], gain: float, std: float | None = None, seconds: float | None = None
) -> dict:
    """Work out what the seeds of an experiment can show, and how many a gain needs.

    Args:
        exp: The experiment.
        rows: What has been run of it: :func:`.results.rows`.
        gain: True gain, in points, that is to be shown in four of five experiments.
        std: Standard deviation of the difference between seeds, in points. The default is that of the rows, with two
            seeds or more, else of the published figures: the root of the sum of both squares, as of unpaired seeds.
        seconds: Of a training iteration. The default is what was logged.

    Returns:
        'gain', 'seeds', 'trainings', 'hours' (None where the seconds are not known) of the experiment as it is, and
        'arms': for each arm of the primary question 'std', 'from', 'power' (the probability to show the gain),
        'least_gain' (which its seeds show), 'seeds_needed' and 'hours_needed' of the whole experiment with these.

    Raises:
        UserError: Where nothing tells the standard deviation.
    """
    hours = _hours(exp, rows, seconds)
    document = {'experiment': exp.name, 'gain': gain, 'seeds': len(exp.seeds), 'metric': exp.primary.metric}
    document |= {'trainings': len(exp.arms) * len(exp.seeds), 'hours': hours and hours * len(exp.seeds), 'arms': []}
    count = len(exp.primary.arms)
    for arm in map(exp.arms.get, exp.primary.arms):
        spread, source = (std, 'given') if std is not None else _spread(exp, rows, arm)
        needed = seeds_needed(gain, spread, count)
        found = {'arm': arm.name, 'baseline': arm.baseline, 'std': spread, 'from': source, 'seeds_needed': needed}
        if exp.can_answer:
            found['power'] = float(power(gain, spread, len(exp.seeds), count))
            found['least_gain'] = least_gain(spread, len(exp.seeds), count)
        document['arms'].append(found | {'hours_needed': hours and needed and hours * needed})
    return document


def to_markdown(document: dict) -> str:
    """Write a document of :func:`plan_seeds` as a table and sentences."""
    lines = []
    for row in document['arms']:
        shows = [f'{100 * row["power"]:.0f} %', f'{row["least_gain"]:+.2f}'] if 'power' in row else ['no verdict', '-']
        needed = str(row['seeds_needed'] or '> 10,000')
        line = [f'{row["arm"]} - {row["baseline"]}', f'{row["std"]:.2f} ({row["from"]})', *shows, needed]
        lines.append([*line, _in_hours(row['hours_needed'])])
    seeds, gain, arms = document['seeds'], f'{document["gain"]:+.2f} {document["metric"]}', len(document['arms'])
    head = ['model - baseline', 'std of the difference', f'{seeds} seeds show {gain} in', 'they show in 4 of 5 cases']
    table = markdown.table([*head, f'seeds for {gain}', 'hours'], lines)
    hours = 'give --seconds of an iteration for the hours'
    if document['hours'] is not None:
        hours = f'{_in_hours(document["hours"])} hours of training on one machine'
    return (
        f'{table}\n\nAs planned: {document["trainings"]} trainings, {hours}. '
        f'Corrected for the {arms} arm{"s" * (arms != 1)} of the question; hours are of all arms.'
    )


def _spread(exp: Experiment, rows: Sequence[dict], arm: Arm) -> tuple[float, str]:
    metric, scores = exp.primary.metric, {}
    for row in rows:
        if row['mode'] == exp.primary.mode and not row['without_sr']:
            scores[row['arm'], row['seed']] = row['metrics'][metric]
    pairs = [(scores.get((arm.name, seed)), scores.get((arm.baseline, seed))) for seed in exp.seeds]
    differences = [ours - theirs for ours, theirs in pairs if None not in (ours, theirs)]
    if len(differences) > 1 and np.ptp(differences) > 0:
        return float(np.std(differences, ddof=1)), f'{len(differences)} seeds'
    published = [each.paper[metric][1] for each in (arm, exp.arms[arm.baseline]) if metric in each.paper]
    if len(published) == 2:
        return math.hypot(*published), 'paper'
    raise UserError(
        f'{exp.path}: nothing tells how the difference of {arm.name} and {arm.baseline} varies from seed to seed: '
        'run two seeds first, or give its standard deviation by --std'
    )


def _hours(exp: Experiment, rows: Sequence[dict], seconds: float | None) -> float | None:
    """Hours of training of one seed of all arms."""
    total = 0.0
    for arm in exp.arms.values():
        logged = [row['train_seconds'] for row in rows if row['arm'] == arm.name and row['train_seconds']]
        if seconds is None and not logged:
            return None
        total += seconds * settings.max_iterations(settings.resolve(arm)) if seconds else float(np.median(logged))
    return total / 3600


def _in_hours(hours: float | None) -> str:
    return '-' if hours is None else f'{hours:,.1f}'
