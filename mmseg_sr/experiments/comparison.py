"""Compare an arm with its baseline in a mode: what each reached, and the differences, of classes too."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict

import numpy as np

from ..errors import UserError
from ..metrics.groups import group_names
from ..metrics.intervals import Interval, holm, mean_std, over_images, over_seeds
from ..metrics.power import seeds_needed
from ..metrics.tasks import Task, task_of
from .plan import Arm, Experiment, Mode

SAME = ('arm', 'baseline', 'mode', 'seeds')  # keys of all that is said of a pair

# From a row to the names of its images and their counts (N, 3, K), or None: results.read_areas of an experiment.
Areas = Callable[[dict], tuple[list[str], np.ndarray] | None]
Table = dict[tuple[str, str, int], dict]  # rows by arm, mode and seed
Pairs = list[tuple[dict, dict]]  # rows of an arm and of its baseline, of the seeds that both have


def add(document: dict, exp: Experiment, table: Table, arm: Arm, mode: Mode, areas: Areas) -> None:
    """Add to a report what an arm reached in a mode, and its differences to its baseline."""
    sides = [[table.get((name, mode.name, seed)) for seed in exp.seeds] for name in (arm.name, arm.baseline)]
    pairs = [(ours, theirs) for ours, theirs in zip(*sides, strict=True) if ours and theirs]
    document['results'].append(_result(exp, [row for row in sides[0] if row], arm, mode, pairs))
    if arm.name == arm.baseline or not pairs:
        return
    task = task_of(exp.primary.metric)
    classes = [name for name in pairs[0][0]['metrics'] if name.startswith(f'{task.of_class}.')]
    values = {
        name: [[score_of(row, name) for row in side] for side in zip(*pairs, strict=True)]
        for name in (*task.metrics, *classes)
    }
    seeds = {name: over_seeds(*each) for name, each in values.items()}
    images, resampling = _over_images(exp, task, pairs, areas)
    if images is None:
        against = f'{arm.name} against {arm.baseline}, {mode.name}'
        document['notes'].append(f'{against}: confusion matrices are missing, so there is no interval over images.')
    found = {}
    for (name, gain), other in zip(seeds.items(), images or [None] * len(seeds), strict=True):
        ends = {'over_seeds': ends_of(gain), 'over_images': ends_of(other)}
        found[name] = {'difference': number_of(gain.difference), **ends}
    same = dict(zip(SAME, (arm.name, arm.baseline, mode.name, len(pairs)), strict=True))
    for metric in task.metrics:
        paper = [each.paper[metric][0] for each in (arm, exp.arms[arm.baseline]) if metric in each.paper]
        published = round(paper[0] - paper[1], 6) if len(paper) == 2 else None
        more = {'resampling': resampling, 'verdict': None, 'corrected_for': None, 'paper': published}
        more['seeds_needed'] = _seeds_needed(exp, *values[metric])
        document['differences'].append({**same, 'metric': metric, **found[metric], **more})
    corrected = holm([seeds[name].p_value for name in classes])
    for name, p_value in zip(classes, corrected, strict=True):
        found[name]['over_seeds']['p_corrected'] = p_value
        ours, theirs = map(_mean, values[name])
        of_class = {'class': name.partition('.')[2], 'ours': ours, 'theirs': theirs}
        document['classes'].append({**same, **of_class, **found[name]})


def _result(exp: Experiment, rows: list[dict], arm: Arm, mode: Mode, pairs: Pairs) -> dict:
    result = {'arm': arm.name, 'baseline': arm.baseline, 'mode': mode.name, 'config': arm.written}
    result |= {'seeds': [row['seed'] for row in rows], 'of': len(exp.seeds), 'paper': dict(arm.paper)}
    for metric in task_of(exp.primary.metric).metrics:
        values = [row['metrics'][metric] for row in rows]
        mean, std = mean_std(values) if values else (None, None)
        result[metric] = {'mean': mean, 'std': std, 'values': values}
    own = arm.name == arm.baseline
    return result | {
        'parameters': rows[0]['parameters'] if rows else None,
        'parameter_overhead': None if own else _overhead(pairs, lambda row: row['parameters']['total']),
        'train_seconds': _mean(row['train_seconds'] for row in rows),
        'train_overhead': None if own else _overhead(pairs, lambda row: row['train_seconds']),
        'test_seconds': _mean(row['test_seconds'] for row in rows),
    }


def _overhead(pairs: Pairs, amount: Callable[[dict], float | None]) -> float | None:
    """Percent that the arm's amounts are above the baseline's; of the pairs in which both are known."""
    known = [(amount(ours), amount(theirs)) for ours, theirs in pairs]
    known = [pair for pair in known if None not in pair]
    return 100 * (sum(ours for ours, _ in known) / sum(theirs for _, theirs in known) - 1) if known else None


def _over_images(exp: Experiment, task: Task, pairs: Pairs, areas: Areas) -> tuple[list[Interval] | None, dict | None]:
    """Intervals of the task's means and each class, and how they were made; None where images are not known."""
    read = [areas(row) for pair in pairs for row in pair]
    if None in read:
        return None, None
    images = read[0][0]
    if any(names != images for names, _ in read):
        ours, theirs = pairs[0]
        raise UserError(f'{ours["arm"]} and {theirs["arm"]}, {ours["mode"]}, were tested on different images')
    sides = [np.stack([each for _, each in read[side::2]]) for side in (0, 1)]
    intervals, resampling = over_images(*sides, group_names(images, exp.groups), task.score)
    return intervals, asdict(resampling)


def score_of(row: dict | None, metric: str) -> float:
    """Return the metric of a row; NaN without a row, and for null, a class without pixels."""
    value = row and row['metrics'][metric]
    return math.nan if value is None else value


def ends_of(interval: Interval | None) -> dict | None:
    """Return the ends of an interval as a report has them."""
    return interval and {'low': interval.low, 'high': interval.high}


def _seeds_needed(exp: Experiment, ours: list[float], theirs: list[float]) -> int | None:
    differences = np.subtract(ours, theirs)
    if len(differences) < 2:
        return None
    return seeds_needed(differences.mean(), differences.std(ddof=1), arms=len(exp.primary.arms))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if number_of(value) is not None]
    return sum(known) / len(known) if known else None


def number_of(value: float | None) -> float | None:
    """Return a number as JSON has it: null for NaN."""
    return None if value is None or math.isnan(value) else value
