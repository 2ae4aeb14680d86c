"""Work out the numbers of a report: a document of JSON's types, of which everything printed or drawn is made.

An interval in it has ``low`` and ``high``, null where there is none.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

import numpy as np

from ..errors import UserError
from ..metrics.groups import group_names
from ..metrics.intervals import Interval, holm, mean_std, over_images, over_seeds
from ..metrics.power import seeds_needed
from ..metrics.tasks import SEGMENTATION, Task, task_of
from .plan import Arm, Experiment, Mode
from .results import WITHOUT
from .verdict import Trained, verdicts

METRICS = SEGMENTATION.metrics
SAME = ('arm', 'baseline', 'mode', 'seeds')  # keys of all that is said of a pair

# From a row to the names of its images and their counts (N, 3, K), or None: results.read_areas of an experiment.
Areas = Callable[[dict], tuple[list[str], np.ndarray] | None]
Table = dict[tuple[str, str, int], dict]  # rows by arm, mode and seed
Pairs = list[tuple[dict, dict]]  # rows of an arm and of its baseline, of the seeds that both have


def summarize(exp: Experiment, rows: Sequence[dict], areas: Areas) -> dict:
    """Work out means, differences to the baselines, and the answer to the primary question.

    Only seeds that both an arm and its baseline have make a pair. What is missing is named.

    Args:
        exp: The experiment.
        rows: Its rows, some or all.
        areas: Reads the areas of a row's images.

    Returns:
        'experiment', 'primary' (the question), 'verdicts' (an answer for each arm in it), 'results', 'differences',
        'classes', 'missing', 'notes', the different 'machine', 'versions' and 'commit' of the rows, and their first and
        last date, 'dates'.

    Raises:
        UserError: For no rows, and for pairs that were tested on other images.
    """
    if not rows:
        raise UserError(f'{exp.name} has no rows in {exp.work_dir}: run it first')
    _check_metrics(exp, rows)
    table = {(row['arm'], row['mode'] + WITHOUT * row.get('without_sr', False), row['seed']): row for row in rows}
    modes = [(arm, mode.name) for mode in exp.modes for arm in exp.arms]
    modes += [
        (arm, exp.primary.mode + WITHOUT) for arm in exp.primary.arms if exp.can_answer and _has_blocks(table, arm)
    ]
    wanted = [(arm, mode, seed) for arm, mode in modes for seed in exp.seeds]
    dates = sorted(row['date'] for row in rows if row.get('date'))
    document = {'experiment': exp.name, 'primary': {**asdict(exp.primary), 'arms': [*exp.primary.arms]}, 'verdicts': []}
    document |= {'results': [], 'differences': [], 'classes': [], 'notes': []}
    document['missing'] = [f'{arm} seed{seed} {mode}' for arm, mode, seed in wanted if (arm, mode, seed) not in table]
    document['of'] = len(wanted)
    document |= {source: _different([row.get(source) for row in rows]) for source in ('machine', 'versions', 'commit')}
    document['dates'] = [dates[0], dates[-1]] if dates else []
    for mode in exp.modes:
        for arm in exp.arms.values():
            _add(document, exp, table, arm, mode, areas)
    _answer(document, exp, table)
    if len(document['machine']) > 1:
        document['notes'].append('The runs are from different machines: their times do not compare.')
    if len(document['commit']) > 1:
        document['notes'].append(
            f'The runs are from {len(document["commit"])} states of the code: a seed gives two networks the same crops '
            'only where nothing that draws random numbers came between.'
        )
    return document


def _check_metrics(exp: Experiment, rows: Sequence[dict]) -> None:
    for row in rows:
        missing = [metric for metric in task_of(exp.primary.metric).metrics if metric not in row['metrics']]
        if missing:
            raise UserError(
                f'{exp.path}: the tests of {row["arm"]} have no {", ".join(missing)}, but '
                f'{", ".join(row["metrics"])[:80]}: set primary.metric, to top1 for classifiers'
            )


def _answer(document: dict, exp: Experiment, table: Table) -> None:
    """Add the verdicts, and give the differences that they are about their form and their corrected intervals."""
    metric, mode = exp.primary.metric, exp.primary.mode
    differences = [row for row in document['differences'] if row['metric'] == metric]
    asked = {row['arm']: row for row in differences if exp.asks(row['arm'], row['mode'])}

    def scores(arm: str, mode: str = mode) -> list[float]:
        return [_score(table.get((arm, mode, seed)), metric) for seed in exp.seeds]

    trained = {}
    for name in asked:
        arm, removed = exp.arms[name], scores(name, mode + WITHOUT) if _has_blocks(table, name) else None
        controls = {control: scores(control) for control in arm.controls}
        trained[name] = Trained(scores(name), scores(arm.baseline), removed, controls)
    for name, verdict in verdicts(trained, len(exp.primary.arms)).items():
        row, removal = asked[name], verdict.removal
        row['over_seeds'] = {**_interval(verdict.interval), 'p_corrected': verdict.p_corrected}
        row['verdict'] = verdict.form
        if verdict.p_corrected is not None and len(exp.primary.arms) > 1:
            row['corrected_for'] = len(exp.primary.arms)
        document['verdicts'].append({key: row[key] for key in SAME + ('metric', 'difference', 'over_seeds', 'verdict')})
        document['verdicts'][-1] |= {
            'reason': verdict.reason,
            'corrected_for': len(exp.primary.arms),
            'removal': removal and {'difference': _number(removal.difference), **_interval(removal)},
        }


def _has_blocks(table: Table, arm: str) -> bool:
    return any(row['parameters']['sr'] for (name, *_), row in table.items() if name == arm)


def _add(document: dict, exp: Experiment, table: Table, arm: Arm, mode: Mode, areas: Areas) -> None:
    """Add what an arm reached in a mode, and its differences to its baseline."""
    sides = [[table.get((name, mode.name, seed)) for seed in exp.seeds] for name in (arm.name, arm.baseline)]
    pairs = [(ours, theirs) for ours, theirs in zip(*sides, strict=True) if ours and theirs]
    document['results'].append(_result(exp, [row for row in sides[0] if row], arm, mode, pairs))
    if arm.name == arm.baseline or not pairs:
        return
    task = task_of(exp.primary.metric)
    classes = [name for name in pairs[0][0]['metrics'] if name.startswith(f'{task.of_class}.')]
    values = {
        name: [[_score(row, name) for row in side] for side in zip(*pairs, strict=True)]
        for name in (*task.metrics, *classes)
    }
    seeds = [over_seeds(*each) for each in values.values()]
    images, resampling = _over_images(exp, task, pairs, areas)
    if images is None:
        against = f'{arm.name} against {arm.baseline}, {mode.name}'
        document['notes'].append(f'{against}: confusion matrices are missing, so there is no interval over images.')
    found = [
        {
            'difference': _number(gain.difference),
            'over_seeds': _interval(gain),
            'over_images': _interval(other),
        }
        for gain, other in zip(seeds, images or [None] * len(seeds), strict=True)
    ]
    same = dict(zip(SAME, (arm.name, arm.baseline, mode.name, len(pairs)), strict=True))
    for metric, row in zip(task.metrics, found, strict=False):
        paper = [each.paper[metric][0] for each in (arm, exp.arms[arm.baseline]) if metric in each.paper]
        published = round(paper[0] - paper[1], 6) if len(paper) == 2 else None
        more = {'verdict': None, 'corrected_for': None, 'paper': published}
        more['seeds_needed'] = _seeds_needed(exp, *values[metric])
        document['differences'].append({**same, 'metric': metric, **row, 'resampling': resampling, **more})
    rows = found[len(task.metrics) :]
    corrected = holm([gain.p_value for gain in seeds[len(task.metrics) :]])
    for name, row, p_value in zip(classes, rows, corrected, strict=True):
        row['over_seeds']['p_corrected'] = p_value
        ours, theirs = map(_mean, values[name])
        document['classes'].append({**same, 'class': name.partition('.')[2], 'ours': ours, 'theirs': theirs, **row})


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


def _score(row: dict | None, metric: str) -> float:
    """The metric of a row; NaN without a row, and for null, a class without pixels."""
    value = row and row['metrics'][metric]
    return math.nan if value is None else value


def _interval(interval: Interval | None) -> dict | None:
    return interval and {'low': interval.low, 'high': interval.high}


def _seeds_needed(exp: Experiment, ours: list[float], theirs: list[float]) -> int | None:
    differences = np.subtract(ours, theirs)
    if len(differences) < 2:
        return None
    return seeds_needed(differences.mean(), differences.std(ddof=1), arms=len(exp.primary.arms))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if _number(value) is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _different(values: list) -> list:
    return [value for index, value in enumerate(values) if value not in values[:index]]
