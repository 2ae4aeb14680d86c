"""The report of an experiment: Markdown for people, JSON for programs."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..atomic import replacing
from . import results as rows
from .numbers import METRICS, summarize
from .plan import Experiment

HOW_TO_READ = """\
Mean ± standard deviation (n - 1) over seeds. Differences are paired: seed by seed, image by image.
The *interval over seeds* (Student's t, paired) says whether other trainings would show the difference on these images.
The *interval over images* (paired bootstrap, the same images drawn for both networks and all seeds) says whether other
images would show it for these trained networks. Both are 95 % intervals. A gain whose interval holds zero is
**not shown**. P is the probability of a gain above zero: by the t distribution over seeds, and the share of draws.
*Seeds needed*: for a paired t test to show a difference like this one in 4 of 5 experiments (power 0.8, level 5 %).
Verdicts on classes are corrected for the number of classes (Holm), their intervals are not.
*Parameters* count the auxiliary head; *training time* is the median time of an iteration, as logged."""


def document_of(exp: Experiment) -> dict:
    """Work out the report of the rows that there are.

    Returns:
        What :func:`.summary.summarize` returns, with 'stale', the rows made under other settings, and 'command'.

    Raises:
        UserError: Where there are no rows, or rows and confusion matrices do not belong together.
    """
    found, stale = rows.read(exp)
    document = summarize(exp, found, partial(rows.read_areas, exp))
    document['stale'] = [str(path) for path in stale]
    document['command'] = f'python tools/experiment.py run {exp.path}'
    return document


def write(exp: Experiment, folder: Path) -> dict:
    """Write ``report.md`` and ``report.json`` of the rows that there are.

    Args:
        exp: The experiment.
        folder: Where to; it is made.

    Returns:
        The document of ``report.json``: see :func:`document_of`, which says what is raised.
    """
    document = document_of(exp)
    with replacing(folder / 'report.json') as temporary:
        temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + '\n')
    with replacing(folder / 'report.md') as temporary:
        temporary.write_text(to_markdown(document), encoding='utf-8')
    return document


def to_markdown(document: dict) -> str:
    """Write a document of :func:`.summary.summarize` as Markdown."""
    modes = list(dict.fromkeys(result['mode'] for result in document['results']))
    parts = [f'# {document["experiment"]}', _verdicts(document)]
    for mode in modes:
        parts += [f'## Results, {mode}', _results([row for row in document['results'] if row['mode'] == mode])]
    if document['differences']:
        parts += ['## Differences to the baseline', _differences(document['differences'])]
    comparisons = dict.fromkeys((row['arm'], row['baseline'], row['mode']) for row in document['classes'])
    for arm, baseline, mode in comparisons:
        chosen = [row for row in document['classes'] if (row['arm'], row['mode']) == (arm, mode)]
        parts += [f'## Classes: {arm} - {baseline}, {mode}', _classes(chosen)]
    parts += ['## How to read it', HOW_TO_READ, '## How it was made', _origin(document)]
    return '\n\n'.join(parts) + '\n'


def _verdicts(document: dict) -> str:
    lines = []
    for row in document['differences']:
        if row['metric'] == 'mIoU':
            seeds = f'{row["seeds"]} seed{"s" * (row["seeds"] != 1)}'
            lines.append(
                f'* **{row["arm"]}** against {row["baseline"]}, {row["mode"]}, {seeds}: '
                f'{row["difference"]:+.2f} mIoU, {_said(row, "over_seeds")}; '
                f'{_said(row, "over_images")}, for these trainings.'
            )
    wanted = sum(result['of'] for result in document['results'])
    if document['missing']:
        missing = '; '.join(document['missing'])
        lines.append(f'* Missing: {len(document["missing"])} of {wanted} runs: {missing}.')
    lines += [f'* Made under other settings, not counted: {path}.' for path in document.get('stale', ())]
    lines += [f'* {note}' for note in document['notes']]
    return '\n'.join(lines) or '* There is no pair to compare.'


def _said(row: dict, kind: str) -> str:
    words = kind.replace('_', ' ')
    interval = row[kind]
    if interval is None or interval['low'] is None:
        return f'no interval {words}' + (' (one seed)' if kind == 'over_seeds' and row['seeds'] == 1 else '')
    return f'{words} {_interval(interval)}: **{interval["verdict"]}**'


def _results(results: Sequence[dict]) -> str:
    papers = [metric for metric in METRICS if any(metric in result['paper'] for result in results)]
    head = ['model', 'seeds']
    for metric in METRICS:
        head += [metric, f'{metric}, paper'] if metric in papers else [metric]
    lines = []
    for result in results:
        cells = [result['arm'], f'{len(result["seeds"])} of {result["of"]}']
        for metric in METRICS:
            cells.append(_mean_std(result[metric]['mean'], result[metric]['std']))
            if metric in papers:
                cells.append(_mean_std(*result['paper'].get(metric, (None, None))))
        count = result['parameters']
        cells += [f'{count["total"]:,}' if count else '-', _percent(result['parameter_overhead'])]
        cells += [_form('{:.0f} s', result['train_seconds']), _percent(result['train_overhead'])]
        lines.append(cells)
    return _table([*head, 'parameters', 'OH', 'training time', 'OH'], lines)


def _differences(differences: Sequence[dict]) -> str:
    head = ['model - baseline', 'mode', 'metric', 'seeds', 'difference', 'paper']
    head += ['95 % over seeds', 'verdict', 'P', '95 % over images', 'verdict', 'P', 'seeds needed']
    lines = []
    for row in differences:
        cells = [f'{row["arm"]} - {row["baseline"]}', row['mode'], row['metric'], str(row['seeds'])]
        cells += [f'{row["difference"]:+.2f}', _form('{:+.2f}', row['paper'])]
        for kind in ('over_seeds', 'over_images'):
            interval = row[kind] or {}
            cells += [_interval(interval), interval.get('verdict', 'no interval')]
            cells.append(_form('{:.3f}', interval.get('probability')))
        needed = row['seeds_needed'] or ('-' if row['seeds'] < 2 else '> 10,000')
        lines.append([*cells, str(needed)])
    return _table(head, lines)


def _classes(classes: Sequence[dict]) -> str:
    first = classes[0]
    head = ['class', first['baseline'], first['arm'], 'difference', '95 % over seeds', 'p, corrected', 'verdict']
    lines = []
    for row in classes:
        cells = [row['class'], _form('{:.2f}', row['theirs']), _form('{:.2f}', row['ours'])]
        cells.append(_form('{:+.2f}', row['difference']))
        for kind in ('over_seeds', 'over_images'):
            interval = row[kind] or {}
            cells += [_interval(interval), _form('{:.3f}', interval.get('p_corrected'))]
            cells.append(interval.get('verdict', 'no interval'))
        lines.append(cells)
    return _table([*head, '95 % over images', 'p, corrected', 'verdict'], lines)


def _origin(document: dict) -> str:
    lines = [f'* Command: `{document["command"]}`'] if 'command' in document else []
    for machine in filter(None, document['machine']):
        gpu = f', {machine["gpu"]}' if machine.get('gpu') else ''
        lines.append(f'* Machine: {machine.get("cpu")}, {machine.get("cores")} cores{gpu}, {machine.get("platform")}')
    for versions in filter(None, document['versions']):
        lines.append(f'* Versions: {", ".join(f"{name} {version}" for name, version in versions.items())}')
    if document.get('dates'):
        lines.append(f'* Measured: {document["dates"][0]} to {document["dates"][1]}')
    lines += [f'* Commit: {commit or "not a git checkout"}' for commit in document['commit']]
    return '\n'.join(lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ['---'] * len(head), *lines]
    return '\n'.join(f'| {" | ".join(cell.replace("|", "/") for cell in row)} |' for row in rows)


def _interval(interval: dict) -> str:
    if interval.get('low') is None:
        return '-'
    return f'[{interval["low"]:+.2f}, {interval["high"]:+.2f}]'


def _mean_std(mean: float | None, std: float | None) -> str:
    return '-' if mean is None else f'{mean:.2f}' if std is None else f'{mean:.2f} ± {std:.2f}'


def _percent(value: float | None) -> str:
    return _form('{:+.2f} %', value)


def _form(form: str, value: float | None) -> str:
    return '-' if value is None else form.format(value)
