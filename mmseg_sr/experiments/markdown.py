"""Write the report of an experiment: Markdown for people, JSON for programs."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tabulate import tabulate

from ..atomic import write_text
from . import results
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
    """Work out the report of the rows that there are: what :func:`.numbers.summarize` returns, and 'command'.

    'stale' names files that were made under other settings.

    Raises:
        UserError: Where there are no rows, or rows and confusion matrices do not belong together.
    """
    document = summarize(exp, results.rows(exp), partial(results.read_areas, exp))
    return {
        **document,
        'stale': list(map(str, results.stale(exp))),
        'command': f'python tools/experiment.py run {exp.path}',
    }


def write(exp: Experiment, folder: Path) -> dict:
    """Write :func:`document_of` an experiment to ``report.json`` and ``report.md`` in a folder, and return it."""
    document = document_of(exp)
    write_text(folder / 'report.json', json.dumps(document, indent=1, allow_nan=False) + '\n')
    write_text(folder / 'report.md', to_markdown(document))
    return document


def to_markdown(document: dict) -> str:
    """Write a document of :func:`.numbers.summarize` as Markdown."""
    parts = [f'# {document["experiment"]}', _verdicts(document)]
    for mode, rows in _grouped(document['results'], 'mode').items():
        parts += [f'## Results, {mode[0]}', _results(rows)]
    if document['differences']:
        parts += ['## Differences to the baseline', _differences(document['differences'])]
    for (arm, baseline, mode), rows in _grouped(document['classes'], 'arm', 'baseline', 'mode').items():
        parts += [f'## Classes: {arm} - {baseline}, {mode}', _classes(rows, arm, baseline)]
    parts += ['## How to read it', HOW_TO_READ, '## How it was made', _origin(document)]
    return '\n\n'.join(parts) + '\n'


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [[cell.replace('|', '/') for cell in line] for line in lines]
    return tabulate(lines, head, tablefmt='github', disable_numparse=True)


def _grouped(rows: Sequence[dict], *keys: str) -> dict[tuple, list[dict]]:
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _verdicts(document: dict) -> str:
    lines = []
    for row in document['differences']:
        if row['metric'] == 'mIoU':
            seeds = f'{row["seeds"]} seed{"s" * (row["seeds"] != 1)}'
            said = [_said(row, kind) for kind in ('over_seeds', 'over_images')]
            lines.append(
                f'* **{row["arm"]}** against {row["baseline"]}, {row["mode"]}, {seeds}: '
                f'{row["difference"]:+.2f} mIoU, {said[0]}; {said[1]}, for these trainings.'
            )
    if document['missing']:
        wanted = sum(result['of'] for result in document['results'])
        lines.append(f'* Missing: {len(document["missing"])} of {wanted} runs: {"; ".join(document["missing"])}.')
    lines += [f'* Made under other settings, not counted: {path}.' for path in document.get('stale', ())]
    lines += [f'* {note}' for note in document['notes']]
    return '\n'.join(lines) or '* There is no pair to compare.'


def _said(row: dict, kind: str) -> str:
    words, interval = kind.replace('_', ' '), row[kind]
    if interval is None or interval['low'] is None:
        return f'no interval {words}' + (' (one seed)' if kind == 'over_seeds' and row['seeds'] == 1 else '')
    return f'{words} {_interval(interval)}: **{interval["verdict"]}**'


def _results(results: Sequence[dict]) -> str:
    papers = [metric for metric in METRICS if any(metric in result['paper'] for result in results)]
    columns = [column for metric in METRICS for column in (metric, f'{metric}, paper')[: 1 + (metric in papers)]]
    lines = []
    for result in results:
        scores = {metric: mean_std(result[metric]['mean'], result[metric]['std']) for metric in METRICS}
        scores |= {f'{metric}, paper': mean_std(*result['paper'].get(metric, (None, None))) for metric in papers}
        line = [result['arm'], f'{len(result["seeds"])} of {result["of"]}', *(scores[column] for column in columns)]
        line += [_form('{:,}', (result['parameters'] or {}).get('total'))]
        line += [_form('{:+.2f} %', result['parameter_overhead']), _form('{:.0f} s', result['train_seconds'])]
        lines.append([*line, _form('{:+.2f} %', result['train_overhead'])])
    return table(['model', 'seeds', *columns, 'parameters', 'OH', 'training time', 'OH'], lines)


def _differences(differences: Sequence[dict]) -> str:
    head = ['model - baseline', 'mode', 'metric', 'seeds', 'difference', 'paper']
    head += ['95 % over seeds', 'verdict', 'P', '95 % over images', 'verdict', 'P', 'seeds needed']
    lines = []
    for row in differences:
        line = [f'{row["arm"]} - {row["baseline"]}', row['mode'], row['metric'], str(row['seeds'])]
        line += [f'{row["difference"]:+.2f}', _form('{:+.2f}', row['paper'])]
        for interval in (row['over_seeds'], row['over_images'] or {}):
            line += [_interval(interval), interval.get('verdict', 'no interval')]
            line.append(_form('{:.3f}', interval.get('probability')))
        lines.append([*line, str(row['seeds_needed'] or ('-' if row['seeds'] < 2 else '> 10,000'))])
    return table(head, lines)


def _classes(classes: Sequence[dict], arm: str, baseline: str) -> str:
    head = ['class', baseline, arm, 'difference', '95 % over seeds', 'p, corrected', 'verdict']
    lines = []
    for row in classes:
        line = [row['class'], _form('{:.2f}', row['theirs']), _form('{:.2f}', row['ours'])]
        line.append(_form('{:+.2f}', row['difference']))
        for interval in (row['over_seeds'], row['over_images'] or {}):
            line += [_interval(interval), _form('{:.3f}', interval.get('p_corrected'))]
            line.append(interval.get('verdict', 'no interval'))
        lines.append(line)
    return table([*head, '95 % over images', 'p, corrected', 'verdict'], lines)


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


def _interval(interval: dict) -> str:
    return '-' if interval.get('low') is None else f'[{interval["low"]:+.2f}, {interval["high"]:+.2f}]'


def mean_std(mean: float | None, std: float | None) -> str:
    """Write a mean and its standard deviation, of which one or both may be missing."""
    return ' ± '.join(f'{value:.2f}' for value in (mean, std) if value is not None) or '-'


def _form(form: str, value: float | None) -> str:
    return '-' if value is None else form.format(value)
