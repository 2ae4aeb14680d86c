"""Write the report page: a run's verdict, numbers, curves and pictures as one HTML file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..atomic import write_text
from ..experiments.markdown import HOW_TO_READ, sentence
from ..metrics.tasks import Task, task_of
from . import charts
from .gallery import Gallery
from .html import inline_svg, interval, number, relative, signed

JINJA = dict(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
MANY = 40  # classes of a chart


@dataclass
class Page:
    """The parts of a report page."""

    title: str  # what was compared: networks, data, seeds
    document: dict  # the report: see mmseg_sr.experiments.numbers.summarize
    commands: Sequence[str] = ()  # make the page again
    sources: Mapping[str, str] = field(default_factory=dict)  # texts of the config files, by name
    curves: Mapping[str, Sequence[Sequence[dict]]] = field(default_factory=dict)  # logs of each network's trainings
    gallery: Gallery = field(default_factory=Gallery)
    scores: Mapping[str, float | None] = field(default_factory=dict)  # IoU, or top-1, of each class, without a baseline


def write(page: Page, path: Path) -> None:
    """Write a page as a file, whole or not at all."""
    write_text(path, render(page))


def render(page: Page) -> str:
    """Turn a page into HTML that loads nothing: every text is escaped, and a Content-Security-Policy forbids it."""
    loader, task = PackageLoader('mmseg_sr.report'), task_of(page.document['primary']['metric'])
    environment = Environment(loader=loader, **JINJA)
    environment.filters |= {each.__name__: each for each in (interval, number, relative, sentence, signed)}
    script, style = (loader.get_source(environment, f'page.{kind}')[0] for kind in ('js', 'css'))
    return environment.get_template('page.html.j2').render(
        page=page,
        document=page.document,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
        forest=_forest(page.document) if page.document['differences'] else None,
        modes=_modes(page.document, task),
        how_to_read=HOW_TO_READ.replace('*', ''),
        comparisons=_comparisons(page.document['classes'], task),
        scores=_scores(page.scores, task) if page.scores else None,
        curves=_curves(page.curves, task),
        task=task,
        many=MANY,
    )


def _forest(document: dict) -> Markup:
    metric = document['primary']['metric']
    with matplotlib.rc_context(charts.STYLE):
        figure = charts.forest_plot(document['differences'], metric)
    figure.set_size_inches(charts.WIDTH, figure.get_figheight())
    figure.axes[0].set_xlabel(f'difference in {metric}, points', fontsize=charts.STYLE['font.size'])
    rows = [row for row in document['differences'] if row['metric'] == metric]
    said = '; '.join(
        f'{row["arm"]} minus {row["baseline"]}, {row["mode"]}: {number(row["difference"], "+.2f")}, '
        f'{interval(row["over_seeds"])}, {row["verdict"] or "also looked at"}'
        for row in rows
    )
    return inline_svg(figure, 'forest', f'Differences to the baselines with their 95 % intervals over seeds. {said}.')


def _modes(document: dict, task: Task) -> list[dict]:
    """For each test mode its results, each with its differences to the baseline by metric."""
    known = {(row['arm'], row['mode'], row['metric']): row for row in document['differences']}
    modes = []
    for mode, results in groupby(document['results'], lambda result: result['mode']):
        results = [
            {**each, 'differences': {m: known.get((each['arm'], mode, m)) for m in task.metrics}} for each in results
        ]
        papers = [metric for metric in task.metrics if any(metric in each['paper'] for each in results)]
        modes.append({'name': mode, 'results': results, 'papers': papers})
    return modes


def _comparisons(classes: Sequence[dict], task: Task) -> list[dict]:
    """For each network and mode its differences by class, as rows and as a chart."""
    found, several = [], len({row['mode'] for row in classes}) > 1
    for (arm, baseline, mode), rows in groupby(classes, lambda row: (row['arm'], row['baseline'], row['mode'])):
        rows = list(rows)
        kind = 'over_seeds' if rows[0]['seeds'] > 1 else 'over_images'
        drawn = [rows[index] for index in _extremes([row['difference'] for row in rows])]
        names, values = [row['class'] for row in drawn], [row['difference'] for row in drawn]
        label = f'difference in {task.of_class}, points'
        figure = charts.class_chart(names, values, label, [row[kind] for row in drawn])
        said = ', '.join(f'{name} {number(value, "+.2f")}' for name, value in zip(names, values, strict=True))
        alt = f'{task.of_class} of each class, {arm} minus {baseline}, {mode}, in percent points: {said}.'
        chart = inline_svg(figure, f'classes-{len(found)}', alt)
        title = f'{arm} against {baseline}' + several * f', {mode}'
        found.append({'title': title, 'rows': rows, 'kind': kind, 'chart': chart})
    return found


def _scores(scores: Mapping[str, float | None], task: Task) -> Markup:
    drawn = [list(scores.items())[index] for index in _extremes(list(scores.values()))]
    said = ', '.join(f'{name} {number(value)}' for name, value in drawn)
    figure = charts.class_chart(*zip(*drawn, strict=True), f'{task.of_class}, %')
    return inline_svg(figure, 'scores', f'{task.of_class} of each class in percent: {said}.')


def _extremes(values: Sequence[float | None]) -> list[int]:
    """Choose what a chart of classes shows: all of them, or of many the lowest and the highest, in their order."""
    if len(values) <= MANY:
        return list(range(len(values)))
    known = sorted((index for index, value in enumerate(values) if value is not None), key=lambda index: values[index])
    return sorted({*known[: MANY // 2], *known[-MANY // 2 :]})


def _curves(curves: Mapping[str, Sequence[Sequence[dict]]], task: Task) -> list[tuple[str, Markup]]:
    found, metric = [], task.metrics[0]
    for key, label, caption, least in (  # the last is the number of points that make a curve
        ('loss', 'loss', 'Training loss.', 1),
        (metric, f'{metric} on val, %', f'{metric} in the validations during training.', 2),
    ):
        drawn = {}
        for name, logs in curves.items():
            lines = [_line(log, key) for log in logs]
            if any(lines):
                drawn[name] = list(filter(None, lines))
        if max((len(line) for lines in drawn.values() for line in lines), default=0) >= least:
            ends = ', '.join(f'{name} {lines[0][max(lines[0])]:.3g}' for name, lines in drawn.items())
            alt = f'Curves of the {label}. At the end of the first training: {ends}.'
            found.append((caption, inline_svg(charts.curve_chart(drawn, label), key, alt)))
    return found


def _line(log: Sequence[dict], key: str) -> dict[int, float]:
    """Read a number by step from a log, where an evaluator may have put a prefix before its name: val/mIoU."""
    return {line['step']: value for line in log for name, value in line.items() if name.rpartition('/')[2] == key}
