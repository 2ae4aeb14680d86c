"""The report page: a report's numbers, curves and pictures as one HTML file that needs nothing but a browser."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..atomic import replacing
from ..experiments.markdown import HOW_TO_READ
from ..experiments.numbers import METRICS
from . import charts, formats
from .charts import NOT_SHOWN, SHOWN, forest_plot
from .gallery import Gallery
from .html import inline_svg

CSS_COLOURS = {SHOWN: 'var(--blue)', NOT_SHOWN: 'var(--grey)'}
CSS_COLOURS |= {colour: f'var(--{name})' for name, colour in charts.COLOURS.items()}


@dataclass
class Page:
    """What is in a report page.

    Attributes:
        title: Its heading.
        document: The report: see :func:`..evaluation.summary.summarize`.
        commands: What to type to make it again.
        sources: Texts of the files that say what was run, by name.
        curves: For each network its trainings, each the lines of :func:`..evaluation.logs.scalars`.
        gallery: Pictures.
        scores: IoU of each class where there is nothing to compare with.
    """

    title: str
    document: dict
    commands: Sequence[str] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Sequence[dict]]] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)
    scores: Mapping[str, float | None] = field(default_factory=dict)


def write(page: Page, path: Path) -> None:
    """Write a page; it appears whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(render(page), encoding='utf-8')


def render(page: Page) -> str:
    """Turn a page into HTML.

    Every text in it is escaped, and a Content-Security-Policy forbids the page to load anything.

    Example:
        >>> document = {key: [] for key in ('results', 'differences', 'classes', 'missing', 'notes', 'machine')}
        >>> document |= {'versions': [], 'commit': [], 'dates': []}
        >>> render(Page('a < b', document))[:15], '<h1>a &lt; b</h1>' in render(Page('a < b', document))
        ('<!doctype html>', True)
    """
    environment = Environment(
        loader=PackageLoader('mmseg_sr.report', 'templates'),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= formats.FILTERS
    script, style = (environment.loader.get_source(environment, f'page.{kind}')[0] for kind in ('js', 'css'))
    modes = _modes(page.document)
    return environment.get_template('page.html.j2').render(
        page=page,
        document=page.document,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
        verdicts=[row for row in page.document['differences'] if row['metric'] == 'mIoU'],
        forest=_forest(page.document['differences']),
        modes=modes,
        costs=_costs(modes),
        how_to_read=HOW_TO_READ.replace('*', ''),
        comparisons=_comparisons(page.document['classes']),
        scores=_scores(page.scores),
        curves=_curves(page.curves),
        memories=[(name, list(each)) for name, each in groupby(page.gallery.memories, lambda each: each.network)],
        metrics=METRICS,
    )


def _forest(differences: Sequence[dict]) -> Markup | None:
    rows = [row for row in differences if row['metric'] == 'mIoU']
    if not rows:
        return None
    with matplotlib.rc_context(charts.STYLE):
        figure = forest_plot(rows)
    figure.set_size_inches(charts.WIDTH, figure.get_figheight())
    figure.axes[0].set_xlabel('difference in mIoU, points', fontsize=charts.STYLE['font.size'])
    said = '; '.join(formats.sentence(row) for row in rows)
    return inline_svg(figure, 'forest', f'Differences to the baselines with their 95 % intervals. {said}', CSS_COLOURS)


def _modes(document: dict) -> list[dict]:
    """For each test mode its results, each with its differences to the baseline by metric."""
    differences = {(row['arm'], row['mode'], row['metric']): row for row in document['differences']}
    modes = []
    for mode, results in groupby(document['results'], lambda result: result['mode']):
        results = [
            {**each, 'differences': {metric: differences.get((each['arm'], mode, metric)) for metric in METRICS}}
            for each in results
        ]
        papers = [metric for metric in METRICS if any(metric in each['paper'] for each in results)]
        modes.append({'name': mode, 'results': results, 'papers': papers})
    return modes


def _costs(modes: Sequence[dict]) -> list[dict]:
    """The results of the first mode, with the times of the tests in all of them."""
    tests = zip(*[[each['test_seconds'] for each in mode['results']] for mode in modes], strict=True)
    return [
        {**result, 'tests': times} for result, times in zip(modes[0]['results'] if modes else (), tests, strict=True)
    ]


def _comparisons(classes: Sequence[dict]) -> list[dict]:
    """For each network and mode its differences by class, as rows and as a chart."""
    found, several = [], len({row['mode'] for row in classes}) > 1
    for (arm, baseline, mode), rows in groupby(classes, lambda row: (row['arm'], row['baseline'], row['mode'])):
        rows = list(rows)
        kind = 'over_seeds' if rows[0]['seeds'] > 1 else 'over_images'
        ordered = sorted((row for row in rows if row['difference'] is not None), key=lambda row: -row['difference'])
        names, values = [row['class'] for row in ordered], [row['difference'] for row in ordered]
        figure = charts.class_chart(names, values, 'difference in IoU, points', [row[kind] for row in ordered])
        said = ', '.join(f'{name} {formats.signed(value)}' for name, value in zip(names, values, strict=True))
        alt = f'IoU of each class, {arm} minus {baseline}, {mode}, in percent points: {said}.'
        found.append(
            {
                'title': f'{arm} against {baseline}' + several * f', {mode}',
                'rows': rows,
                'kind': kind,
                'chart': inline_svg(figure, f'classes-{len(found)}', alt, CSS_COLOURS),
            }
        )
    return found


def _scores(scores: Mapping[str, float | None]) -> Markup | None:
    if not scores:
        return None
    said = ', '.join(f'{name} {formats.number(value)}' for name, value in scores.items())
    figure = charts.class_chart(list(scores), list(scores.values()), 'IoU, %')
    return inline_svg(figure, 'scores', f'IoU of each class in percent: {said}.', CSS_COLOURS)


def _curves(curves: Mapping[str, Sequence[Sequence[dict]]]) -> list[tuple[str, Markup]]:
    """Charts of the loss and of mIoU in validation; the latter where there is more than one validation."""
    found = []
    for key, label, caption, least in (
        ('loss', 'loss', 'Training loss.', 1),
        ('mIoU', 'mIoU on val, %', 'mIoU in the validations during training.', 2),
    ):
        drawn = {
            name: [{line['step']: line[key] for line in lines if key in line and 'step' in line} for lines in trainings]
            for name, trainings in curves.items()
        }
        drawn = {name: [each for each in lines if each] for name, lines in drawn.items()}
        drawn = {name: lines for name, lines in drawn.items() if lines}
        if max((len(line) for lines in drawn.values() for line in lines), default=0) < least:
            continue
        ends = ', '.join(f'{name} {lines[0][max(lines[0])]:.3g}' for name, lines in drawn.items())
        alt = f'{caption} At the end of the first training: {ends}.'
        found.append((caption, inline_svg(charts.curve_chart(drawn, label), key, alt, CSS_COLOURS)))
    return found
