"""Work out the numbers of a report: a document of JSON's types, of which everything printed or drawn is made.

An interval in it has ``low`` and ``high``, null where there is none.
"""

from collections.abc import Sequence
from dataclasses import asdict

from ..errors import UserError
from ..metrics.tasks import task_of
from . import settings
from .comparison import SAME, Areas, Table, add, ends_of, number_of, score_of
from .plan import Experiment
from .results import WITHOUT
from .verdict import Trained, verdicts


def summarize(exp: Experiment, rows: Sequence[dict], areas: Areas) -> dict:
    """Work out means, differences to the baselines, and the answer to the primary question.

    Only seeds that both an arm and its baseline have make a pair. What is missing is named. ``rows`` are some or all of
    the experiment's; ``areas`` reads the areas of a row's images.

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
    if exp.can_answer:
        asked = [arm for arm in exp.primary.arms if settings.has_blocks(exp.arms[arm])]
        modes += [(arm, exp.primary.mode + WITHOUT) for arm in asked]
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
            add(document, exp, table, arm, mode, areas)
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
        return [score_of(table.get((arm, mode, seed)), metric) for seed in exp.seeds]

    with_blocks = {row['arm'] for row in table.values() if row['parameters']['sr']}
    trained = {}
    for name in asked:
        arm, removed = exp.arms[name], scores(name, mode + WITHOUT) if name in with_blocks else None
        controls = {control: scores(control) for control in arm.controls}
        trained[name] = Trained(scores(name), scores(arm.baseline), removed, controls)
    for name, verdict in verdicts(trained, len(exp.primary.arms)).items():
        row, removal = asked[name], verdict.removal
        row['over_seeds'] = {**ends_of(verdict.interval), 'p_corrected': verdict.p_corrected}
        row['verdict'] = verdict.form
        if verdict.p_corrected is not None and len(exp.primary.arms) > 1:
            row['corrected_for'] = len(exp.primary.arms)
        document['verdicts'].append({key: row[key] for key in SAME + ('metric', 'difference', 'over_seeds', 'verdict')})
        document['verdicts'][-1] |= {
            'reason': verdict.reason,
            'corrected_for': len(exp.primary.arms),
            'removal': removal and {'difference': number_of(removal.difference), **ends_of(removal)},
        }


def _different(values: list) -> list:
    return [value for index, value in enumerate(values) if value not in values[:index]]
