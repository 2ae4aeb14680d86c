"""From rows to the numbers of a report: a document of JSON's types, of which everything printed or drawn is made.

An interval in it has ``low`` and ``high`` (null where there is none), ``probability`` (of a gain above zero),
``p_value`` and ``verdict``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from ..errors import UserError
from ..metrics.intervals import Interval, holm, mean_std, over_images, over_seeds, seeds_needed
from .plan import Arm, Experiment, Mode

METRICS = ('mIoU', 'mAcc', 'aAcc')
SOURCES = ('machine', 'versions', 'commit')

# From a row to the names of its images and their areas (N, 3, K), or None: rows.read_areas of an experiment.
Areas = Callable[[dict], tuple[list[str], np.ndarray] | None]


def summarize(exp: Experiment, rows: Sequence[dict], areas: Areas, draws: int = 9999) -> dict:
    """Work out means, differences to the baselines, and what they are worth.

    Only seeds that both an arm and its baseline have make a pair. What is missing is named.

    Args:
        exp: The experiment.
        rows: Its rows, some or all.
        areas: Reads the areas of a row's images.
        draws: Of the bootstrap.

    Returns:
        'experiment', 'results', 'differences', 'classes', 'missing', 'notes', the different 'machine', 'versions'
        and 'commit' of the rows, and their first and last date, 'dates'.

    Raises:
        UserError: For no rows, and for pairs that were tested on other images.
    """
    if not rows:
        raise UserError(f'{exp.name} has no rows in {exp.work_dir}: run it first')
    table = {(row['arm'], row['mode'], row['seed']): row for row in rows}
    document = {'experiment': exp.name, 'results': [], 'differences': [], 'classes': [], 'notes': []}
    for mode in exp.modes:
        for arm in exp.arms.values():
            pairs = _pairs(exp, table, arm, mode)
            document['results'].append(_result(exp, table, arm, mode, pairs))
            if arm.name == arm.baseline or not pairs:
                continue
            images = _over_images(pairs, areas, draws, document['notes'])
            same = {'arm': arm.name, 'baseline': arm.baseline, 'mode': mode.name, 'seeds': len(pairs)}
            document['differences'] += _differences(exp, same, arm, pairs, images)
            document['classes'] += _classes(same, pairs, images)
    document['missing'] = [
        f'{arm.name} seed{seed} {mode.name}'
        for mode in exp.modes
        for arm in exp.arms.values()
        for seed in exp.seeds
        if (arm.name, mode.name, seed) not in table
    ]
    document |= {source: _different(row.get(source) for row in rows) for source in SOURCES}
    dates = sorted(row['date'] for row in rows if row.get('date'))
    document['dates'] = [dates[0], dates[-1]] if dates else []
    if len(document['machine']) > 1:
        document['notes'].append('The runs are from different machines: their times do not compare.')
    if len(document['commit']) > 1:
        document['notes'].append(
            f'The runs are from {len(document["commit"])} states of the code: a seed gives two networks the same crops '
            'only where nothing that draws random numbers came between.'
        )
    return document


def _pairs(exp: Experiment, table: dict, arm: Arm, mode: Mode) -> list[tuple[dict, dict]]:
    """(row, row of the baseline) of the seeds that have both."""
    found = [(table.get((arm.name, mode.name, s)), table.get((arm.baseline, mode.name, s))) for s in exp.seeds]
    return [(ours, theirs) for ours, theirs in found if ours and theirs]


def _result(exp: Experiment, table: dict, arm: Arm, mode: Mode, pairs: list) -> dict:
    rows = [table[key] for key in ((arm.name, mode.name, seed) for seed in exp.seeds) if key in table]
    result = {'arm': arm.name, 'baseline': arm.baseline, 'mode': mode.name, 'config': arm.written}
    result |= {'seeds': [row['seed'] for row in rows], 'of': len(exp.seeds), 'paper': dict(arm.paper)}
    for metric in METRICS:
        values = [row['metrics'][metric] for row in rows]
        mean, std = mean_std(values) if values else (None, None)
        result[metric] = {'mean': mean, 'std': std, 'values': values}
    result['parameters'] = rows[0]['parameters'] if rows else None
    own = arm.name == arm.baseline
    result['parameter_overhead'] = None if own else _overhead(pairs, lambda row: row['parameters']['total'])
    result['train_seconds'] = _mean(row['train_seconds'] for row in rows)
    result['train_overhead'] = None if own else _overhead(pairs, lambda row: row['train_seconds'])
    result['test_seconds'] = _mean(row['test_seconds'] for row in rows)
    return result


def _overhead(pairs: list, amount: Callable[[dict], float | None]) -> float | None:
    """Percent that the arm's amounts are above the baseline's; of the pairs in which both are known."""
    known = [(amount(ours), amount(theirs)) for ours, theirs in pairs]
    known = [pair for pair in known if None not in pair]
    return 100 * (sum(ours for ours, _ in known) / sum(theirs for _, theirs in known) - 1) if known else None


def _over_images(pairs: list, areas: Areas, draws: int, notes: list[str]) -> list[Interval] | None:
    """Intervals of mIoU, mAcc, aAcc and each class; None, with a note, where confusion matrices are missing."""
    read = [(areas(ours), areas(theirs)) for ours, theirs in pairs]
    ours, theirs = pairs[0]
    if any(None in pair for pair in read):
        notes.append(
            f'{ours["arm"]} against {theirs["arm"]}, {ours["mode"]}: confusion matrices are missing, so there is no '
            'interval over images.'
        )
        return None
    names = read[0][0][0]
    if any(images != names for pair in read for images, _ in pair):
        raise UserError(f'{ours["arm"]} and {theirs["arm"]}, {ours["mode"]}, were tested on different images')
    sides = [np.stack([pair[side][1] for pair in read]) for side in (0, 1)]
    return over_images(*sides, draws=draws)


def _differences(exp: Experiment, same: dict, arm: Arm, pairs: list, images: list[Interval] | None) -> list[dict]:
    published = exp.arms[arm.baseline].paper
    found = []
    for index, metric in enumerate(METRICS):
        sides = _values(pairs, metric)
        seeds = over_seeds(*sides)
        paper = [numbers[metric][0] for numbers in (arm.paper, published) if metric in numbers]
        found.append(
            {
                **same,
                'metric': metric,
                'difference': seeds.difference,
                'over_seeds': _document(seeds),
                'over_images': _document(images[index]) if images else None,
                'seeds_needed': seeds_needed(*sides),
                'paper': round(paper[0] - paper[1], 6) if len(paper) == 2 else None,
            }
        )
    return found


def _classes(same: dict, pairs: list, images: list[Interval] | None) -> list[dict]:
    names = [name for name in pairs[0][0]['metrics'] if name.startswith('IoU.')]
    sides = {name: _values(pairs, name) for name in names}
    seeds = {name: over_seeds(*sides[name]) for name in names}
    drawn = dict(zip(names, images[len(METRICS) :], strict=True)) if images else {}
    corrected = {
        kind: dict(zip(names, holm([intervals[name].p_value for name in names]), strict=True))
        for kind, intervals in (('seeds', seeds), ('images', drawn))
        if intervals
    }
    return [
        {
            **same,
            'class': name.removeprefix('IoU.'),
            'ours': _mean(sides[name][0]),
            'theirs': _mean(sides[name][1]),
            'difference': _number(seeds[name].difference),
            'over_seeds': _corrected(seeds[name], corrected['seeds'][name]),
            'over_images': _corrected(drawn[name], corrected['images'][name]) if drawn else None,
        }
        for name in names
    ]


def _values(pairs: list, metric: str) -> tuple[list[float], list[float]]:
    """The metric of both sides of each pair; NaN for null, a class without pixels."""
    ours, theirs = zip(*pairs, strict=True)
    return tuple([math.nan if row['metrics'][metric] is None else row['metrics'][metric] for row in side]
                 for side in (ours, theirs))  # fmt: skip


def _document(interval: Interval) -> dict:
    numbers = {key: _number(value) for key, value in asdict(interval).items() if key != 'difference'}
    return {**numbers, 'verdict': interval.verdict}


def _corrected(interval: Interval, p_value: float | None) -> dict:
    """An interval whose verdict is that of the corrected p-value."""
    verdict = 'no interval'
    if p_value is not None:
        verdict = 'not shown' if p_value >= 0.05 else 'gain shown' if interval.difference > 0 else 'loss shown'
    return {**_document(interval), 'p_corrected': p_value, 'verdict': verdict}


def _mean(values) -> float | None:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return sum(known) / len(known) if known else None


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _different(values) -> list:
    found = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
