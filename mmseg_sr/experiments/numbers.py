"""Work out the numbers of a report: a document of JSON's types, of which everything printed or drawn is made.

An interval in it has ``low`` and ``high`` (null where there is none), ``probability`` (of a gain above zero),
``p_value`` and ``verdict``.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

import numpy as np

from ..errors import UserError
from ..metrics.intervals import Interval, holm, mean_std, over_images, over_seeds, seeds_needed
from .plan import Arm, Experiment, Mode

METRICS = ('mIoU', 'mAcc', 'aAcc')

# From a row to the names of its images and their areas (N, 3, K), or None: results.read_areas of an experiment.
Areas = Callable[[dict], tuple[list[str], np.ndarray] | None]
Table = dict[tuple[str, str, int], dict]  # rows by arm, mode and seed
Pairs = list[tuple[dict, dict]]  # rows of an arm and of its baseline, of the seeds that both have


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
    wanted = [(arm.name, mode.name, seed) for mode in exp.modes for arm in exp.arms.values() for seed in exp.seeds]
    dates = sorted(row['date'] for row in rows if row.get('date'))
    document = {'experiment': exp.name, 'results': [], 'differences': [], 'classes': [], 'notes': []}
    document['missing'] = [f'{arm} seed{seed} {mode}' for arm, mode, seed in wanted if (arm, mode, seed) not in table]
    document |= {source: _different([row.get(source) for row in rows]) for source in ('machine', 'versions', 'commit')}
    document['dates'] = [dates[0], dates[-1]] if dates else []
    for mode in exp.modes:
        for arm in exp.arms.values():
            _add(document, exp, table, arm, mode, areas, draws)
    if len(document['machine']) > 1:
        document['notes'].append('The runs are from different machines: their times do not compare.')
    if len(document['commit']) > 1:
        document['notes'].append(
            f'The runs are from {len(document["commit"])} states of the code: a seed gives two networks the same crops '
            'only where nothing that draws random numbers came between.'
        )
    return document


def _add(document: dict, exp: Experiment, table: Table, arm: Arm, mode: Mode, areas: Areas, draws: int) -> None:
    """Add what an arm reached in a mode, and its differences to its baseline."""
    sides = [[table.get((name, mode.name, seed)) for seed in exp.seeds] for name in (arm.name, arm.baseline)]
    pairs = [(ours, theirs) for ours, theirs in zip(*sides, strict=True) if ours and theirs]
    document['results'].append(_result(exp, [row for row in sides[0] if row], arm, mode, pairs))
    if arm.name == arm.baseline or not pairs:
        return
    classes = [name for name in pairs[0][0]['metrics'] if name.startswith('IoU.')]
    values = {name: _values(pairs, name) for name in (*METRICS, *classes)}
    seeds = [over_seeds(*each) for each in values.values()]
    images = _over_images(pairs, areas, draws)
    if images is None:
        against = f'{arm.name} against {arm.baseline}, {mode.name}'
        document['notes'].append(f'{against}: confusion matrices are missing, so there is no interval over images.')
    found = [
        {'difference': _number(gain.difference), 'over_seeds': _interval(gain), 'over_images': _interval(drawn)}
        for gain, drawn in zip(seeds, images or [None] * len(seeds), strict=True)
    ]
    same = {'arm': arm.name, 'baseline': arm.baseline, 'mode': mode.name, 'seeds': len(pairs)}
    for metric, row in zip(METRICS, found, strict=False):
        paper = [each.paper[metric][0] for each in (arm, exp.arms[arm.baseline]) if metric in each.paper]
        published = round(paper[0] - paper[1], 6) if len(paper) == 2 else None
        more = {'seeds_needed': seeds_needed(*values[metric]), 'paper': published}
        document['differences'].append({**same, 'metric': metric, **row, **more})
    _correct(found[len(METRICS) :], 'over_seeds')
    _correct(found[len(METRICS) :], 'over_images')
    for name, row in zip(classes, found[len(METRICS) :], strict=True):
        ours, theirs = map(_mean, values[name])
        document['classes'].append({**same, 'class': name.removeprefix('IoU.'), 'ours': ours, 'theirs': theirs, **row})


def _result(exp: Experiment, rows: list[dict], arm: Arm, mode: Mode, pairs: Pairs) -> dict:
    result = {'arm': arm.name, 'baseline': arm.baseline, 'mode': mode.name, 'config': arm.written}
    result |= {'seeds': [row['seed'] for row in rows], 'of': len(exp.seeds), 'paper': dict(arm.paper)}
    for metric in METRICS:
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


def _over_images(pairs: Pairs, areas: Areas, draws: int) -> list[Interval] | None:
    """Intervals of mIoU, mAcc, aAcc and each class; None where confusion matrices are missing."""
    read = [areas(row) for pair in pairs for row in pair]
    if None in read:
        return None
    if any(images != read[0][0] for images, _ in read):
        ours, theirs = pairs[0]
        raise UserError(f'{ours["arm"]} and {theirs["arm"]}, {ours["mode"]}, were tested on different images')
    return over_images(*(np.stack([each for _, each in read[side::2]]) for side in (0, 1)), draws=draws)


def _values(pairs: Pairs, metric: str) -> list[list[float]]:
    """The metric of both sides of each pair; NaN for null, a class without pixels."""
    values = [[row['metrics'][metric] for row in side] for side in zip(*pairs, strict=True)]
    return [[math.nan if value is None else value for value in side] for side in values]


def _interval(interval: Interval | None) -> dict | None:
    if interval is None:
        return None
    numbers = {key: _number(value) for key, value in asdict(interval).items() if key != 'difference'}
    return {**numbers, 'verdict': interval.verdict}


def _correct(classes: Sequence[dict], kind: str) -> None:
    """Correct p-values for the number of classes, and let the verdicts be theirs."""
    intervals = [row[kind] for row in classes if row[kind]]
    for row, p_value in zip(classes, holm([interval['p_value'] for interval in intervals]), strict=False):
        shown = 'gain shown' if (row['difference'] or 0) > 0 else 'loss shown'
        verdict = 'no interval' if p_value is None else 'not shown' if p_value >= 0.05 else shown
        row[kind] |= {'p_corrected': p_value, 'verdict': verdict}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if _number(value) is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _different(values: list) -> list:
    return [value for index, value in enumerate(values) if value not in values[:index]]
