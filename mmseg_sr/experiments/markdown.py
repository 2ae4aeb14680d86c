"""Write the report of an experiment: Markdown for people, JSON for programs."""

import json
import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tabulate import tabulate

from ..atomic import write_text
from ..metrics.tasks import task_of
from . import results
from .numbers import summarize
from .plan import Experiment

HOW_TO_READ = """\
Mean ± standard deviation (n - 1) over seeds. Differences are paired, seed by seed.
The *verdict* answers the question that the experiment was made for: one metric, one mode, the arms that it names. A
gain is **shown** where its 95 % interval over seeds (Student's t, paired) lies above zero; interval and p are corrected
for the number of arms in the question (Holm). It is **the block's** where the trained networks lose more than half of
it without their SR blocks, and no control arm has it. Below three seeds there is no verdict.
All else is *also looked at*: its intervals are not corrected, and one in twenty holds no zero by chance.
The *interval over images* (jackknife, the same images for both networks) says how far these trained networks differ on
other images of this kind. It says nothing of other trainings, so it is no verdict.
*Seeds needed*: to show a difference like this one in 4 of 5 experiments (power 0.8), corrected for the arms.
p of classes is corrected for the number of classes (Holm), their intervals are not.
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
        'command': shlex.join(['python', 'tools/experiment.py', 'run', str(exp.path)]),
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
    for mode, rows in groupby(document['results'], itemgetter('mode')):
        parts += [f'## Results, {mode}', _results([*rows], task_of(document['primary']['metric']).metrics)]
    if document['differences']:
        parts += ['## Differences to the baseline', _differences(document['differences'])]
        parts += ['### How far these networks differ on other images', _images(document['differences'])]
    for (arm, baseline, mode), rows in groupby(document['classes'], itemgetter('arm', 'baseline', 'mode')):
        parts += [f'## Classes, also looked at: {arm} - {baseline}, {mode}', _classes(rows, arm, baseline)]
    parts += ['## How to read it', HOW_TO_READ, '## How it was made', _origin(document)]
    return '\n\n'.join(part for part in parts if part) + '\n'


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [[cell.replace('|', '/') for cell in line] for line in lines]
    return tabulate(lines, head, tablefmt='github', disable_numparse=True)


def sentence(row: dict) -> str:
    """Say what the verdict on an arm is about and what it rests on.

    Example:
        >>> row = {'arm': 'SR', 'baseline': 'FCN', 'mode': 'slide', 'metric': 'mIoU', 'seeds': 5, 'difference': 0.094}
        >>> row |= {'over_seeds': {'low': -1.43, 'high': 1.62, 'p_corrected': 0.86}, 'corrected_for': 1}
        >>> sentence({**row, 'reason': 'the interval holds zero', 'removal': None})
        'SR against FCN, slide: +0.09 mIoU over 5 seeds, 95 % interval [-1.43, +1.62]; the interval holds zero.'
    """
    said = f'{row["arm"]} against {row["baseline"]}, {row["mode"]}: {row["difference"]:+.2f} {row["metric"]}'
    said += f' over {row["seeds"]} seed{"s" * (row["seeds"] != 1)}'
    if row['over_seeds']['low'] is not None:
        corrected = row['over_seeds']['p_corrected'] is not None and row['corrected_for'] > 1
        words = f', corrected for {row["corrected_for"]} arms' if corrected else ''
        said += f', 95 % interval {interval(row["over_seeds"])}{words}'
    said += f'; {row["reason"]}.'
    removal = row['removal'] or {'difference': None}
    if removal['difference'] is not None:
        said += f' Without their SR blocks these networks change by {0 - removal["difference"]:+.2f}'
        low, high = removal['high'], removal['low']
        said += f' [{0 - low:+.2f}, {0 - high:+.2f}].' if low is not None else '.'
    return said


def _verdicts(document: dict) -> str:
    question = document['primary']
    lines = [f'* **{row["verdict"]}**: {sentence(row)}' for row in document['verdicts']]
    if lines:
        asked = ', '.join(question['arms'])
        lines.insert(
            0, f'The question: {question["metric"]}, {question["mode"]}, of {asked}. All else is also looked at.\n'
        )
    if document['missing']:
        lines.append(
            f'* Missing: {len(document["missing"])} of {document["of"]} runs: {"; ".join(document["missing"])}.'
        )
    lines += [f'* Made under other settings, not counted: {path}.' for path in document.get('stale', ())]
    lines += [f'* {note}' for note in document['notes']]
    return '\n'.join(lines) or '* There is no pair to compare.'


def _results(results: Sequence[dict], metrics: Sequence[str]) -> str:
    papers = [metric for metric in metrics if any(metric in result['paper'] for result in results)]
    columns = [column for metric in metrics for column in (metric, f'{metric}, paper')[: 1 + (metric in papers)]]
    lines = []
    for result in results:
        scores = {metric: mean_std(result[metric]['mean'], result[metric]['std']) for metric in metrics}
        scores |= {f'{metric}, paper': mean_std(*result['paper'].get(metric, (None, None))) for metric in papers}
        line = [result['arm'], f'{len(result["seeds"])} of {result["of"]}', *(scores[column] for column in columns)]
        line += [_form('{:,}', (result['parameters'] or {}).get('total'))]
        line += [_form('{:+.2f} %', result['parameter_overhead']), _form('{:.0f} s', result['train_seconds'])]
        lines.append([*line, _form('{:+.2f} %', result['train_overhead'])])
    return table(['model', 'seeds', *columns, 'parameters', 'OH', 'training time', 'OH'], lines)


def _differences(differences: Sequence[dict]) -> str:
    head = ['model - baseline', 'mode', 'metric', 'seeds', 'difference', 'paper', '95 % over seeds', 'verdict']
    lines = []
    for row in differences:
        line = [f'{row["arm"]} - {row["baseline"]}', row['mode'], row['metric'], str(row['seeds'])]
        line += [f'{row["difference"]:+.2f}', _form('{:+.2f}', row['paper'])]
        line += [interval(row['over_seeds']) + corrected(row), row['verdict'] or 'also looked at']
        lines.append([*line, str(row['seeds_needed'] or ('-' if row['seeds'] < 2 else '> 10,000'))])
    return table([*head, 'seeds needed'], lines)


def corrected(row: dict) -> str:
    """Say behind the interval of a difference for how many arms it is corrected, if it is."""
    return f', corrected for {row["corrected_for"]} arms' if row.get('corrected_for') else ''


def _images(differences: Sequence[dict]) -> str:
    lines = []
    for row in differences:
        if row['over_images'] is None:
            continue
        line = [f'{row["arm"]} - {row["baseline"]}', row['mode'], row['metric'], f'{row["difference"]:+.2f}']
        found = row['resampling']
        line += [interval(row['over_images']), f'{found["count"]} {found["by"]}']
        lines.append([*line, _form('{:+.2f}', found['correlation'])])
    head = ['model - baseline', 'mode', 'metric', 'difference', '95 % over images', 'left out in turn']
    return table([*head, 'correlation of neighbours'], lines) if lines else ''


def _classes(classes: Iterable[dict], arm: str, baseline: str) -> str:
    lines = []
    for row in classes:
        line = [row['class'], _form('{:.2f}', row['theirs']), _form('{:.2f}', row['ours'])]
        line += [_form('{:+.2f}', row['difference']), interval(row['over_seeds'])]
        line += [_form('{:.3f}', row['over_seeds']['p_corrected']), interval(row['over_images'] or {})]
        lines.append(line)
    head = ['class', baseline, arm, 'difference', '95 % over seeds', 'p, corrected', '95 % over images']
    return table(head, lines)


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


def interval(ends: dict, digits: int = 2) -> str:
    """Write an interval in brackets, a dash for none."""
    if ends.get('low') is None:
        return '-'
    return f'[{ends["low"]:+.{digits}f}, {ends["high"]:+.{digits}f}]'


def mean_std(mean: float | None, std: float | None) -> str:
    """Write a mean and its standard deviation, of which one or both may be missing."""
    return ' ± '.join(f'{value:.2f}' for value in (mean, std) if value is not None) or '-'


def _form(form: str, value: float | None) -> str:
    return '-' if value is None else form.format(value)
