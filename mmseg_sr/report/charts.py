"""Charts of numbers: differences to the baseline, overall and by class, and training curves."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Told apart by colour-blind people too. The page replaces them, for its light and dark scheme.
COLOURS = dict(grey='#6b6b6b', blue='#0072b2', orange='#d55e00', green='#009e73', purple='#cc79a7', gold='#b38600')
NETWORKS = list(COLOURS.values())
COLOURS['rule'] = '#b0b1b2'
DASHES = ('-', '--', '-.', ':')
WIDTH = 3.9  # inches, of 8 points' text: readable at the width of a phone
STYLE = {'font.size': 8, 'text.parse_math': False, 'axes.spines.top': False, 'axes.spines.right': False}
GAIN, LOSS, NOT_SHOWN = COLOURS['blue'], COLOURS['orange'], COLOURS['grey']


def class_chart(names: Sequence[str], values: Sequence[float | None], label: str, intervals: Sequence = ()) -> Figure:
    """Draw a bar for each class, the first on top: blue above zero, orange below; none for None.

    ``intervals`` may give 'low' and 'high' of each class, or None.

    Example:
        >>> figure = class_chart(['road', 'car'], [0.5, None], 'difference')
        >>> [float(bar.get_width()) for bar in figure.axes[0].patches]
        [0.5]
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.2 * len(names)), layout='constrained')
        axes = figure.add_subplot()
        for place, value in enumerate(values):
            if value is None:
                continue
            interval = (intervals[place] if intervals else None) or {}
            axes.barh(place, value, height=0.66, linewidth=0, color=GAIN if value >= 0 else LOSS)
            if interval.get('low') is not None:
                axes.plot([interval['low'], interval['high']], [place] * 2, color='black', linewidth=1)
        axes.axvline(0, color='black', linewidth=0.8)
        axes.set_yticks(range(len(names)), map(short, names))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis='y', length=0)
        axes.spines['left'].set_visible(False)
        axes.grid(axis='x', color=COLOURS['rule'], linewidth=0.4)
        axes.set_axisbelow(True)
        axes.set_xlabel(label)
    return figure


def curve_chart(curves: Mapping[str, Sequence[Mapping[int, float]]], label: str) -> Figure:
    """Draw a line for each training, a number by iteration; those of one network in one colour.

    Example:
        >>> figure = curve_chart({'FCN': [{50: 2.0, 100: 1.5}], 'SR': [{50: 2.1}]}, 'loss')
        >>> [line.get_xdata().tolist() for line in figure.axes[0].lines]
        [[50, 100], [50]]
    """
    with matplotlib.rc_context(STYLE):
        rows = -(-len(curves) // 2)  # of the legend, of which two fit above the axes
        figure = Figure(figsize=(WIDTH, 2.5 + 0.18 * max(0, rows - 2)), layout='constrained')
        axes = figure.add_subplot()
        for index, (name, trainings) in enumerate(curves.items()):
            style = {'color': NETWORKS[index % len(NETWORKS)], 'linestyle': DASHES[index % len(DASHES)]}
            for number, curve in enumerate(trainings):
                steps = sorted(curve)
                style |= {'marker': 'o' if len(steps) < 12 else None, 'label': None if number else name}
                axes.plot(steps, [curve[step] for step in steps], linewidth=1.2, markersize=2.5, **style)
        figure.legend(loc='outside upper center', ncols=2, frameon=False)
        axes.set_xlabel('iteration')
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(color=COLOURS['rule'], linewidth=0.4)
    return figure


def short(name: str) -> str:
    """Cut a name that is too long for a chart.

    Example:
        >>> short('road'), short('the name of a class in a chart')
        ('road', 'the name of a class…')
    """
    return name if len(name) <= 20 else f'{name[:19].rstrip()}…'


def forest_plot(differences: Sequence[dict], metric: str = 'mIoU') -> Figure:
    """Draw the differences of a report in a metric with their intervals over seeds, and thin ones over images.

    A verdict stands beside its line. A gain that is shown is blue with a triangle that points up, a loss orange with
    one that points down; all else is grey, with a hollow circle.

    Example:
        >>> row = {'arm': 'SR', 'baseline': 'FCN', 'mode': 'slide', 'metric': 'mIoU', 'seeds': 5, 'difference': 0.2}
        >>> row |= {'over_seeds': {'low': -0.1, 'high': 0.5}, 'over_images': None, 'verdict': 'not shown'}
        >>> figure = forest_plot([row])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['SR - FCN\\nslide, 5 seeds\\nnot shown']
    """
    rows = [row for row in differences if row['metric'] == metric]
    figure = Figure(figsize=(7, 1.3 + 0.75 * max(1, len(rows))), dpi=150, layout='constrained')
    axes = figure.add_subplot()
    axes.axvline(0, color='black', linewidth=0.8)
    for position, row in enumerate(rows):
        color, marker = _style(row['verdict'] or '')
        for interval, height, width in ((row['over_seeds'], -position, 2), (row['over_images'], -position - 0.16, 0.8)):
            if interval and interval['low'] is not None:
                shade = color if width == 2 else NOT_SHOWN
                axes.plot([interval['low'], interval['high']], [height, height], color=shade, linewidth=width)
        hollow = 'none' if color == NOT_SHOWN else 'full'
        axes.plot([row['difference']], [-position], marker, color=color, markersize=6, fillstyle=hollow)
    arms = max((row.get('corrected_for') or 1 for row in rows), default=1)
    seeds = 'over seeds' + f'; of verdicts, corrected for {arms} arms' * (arms > 1)
    kinds = [(2, seeds), (0.8, 'over images, for these networks')]
    for width, words in kinds[: 1 + any(row['over_images'] for row in rows)]:
        axes.plot([], [], color=NOT_SHOWN, linewidth=width, label=f'95 % {words}')
    axes.set_yticks(range(0, -len(rows), -1), map(_label, rows))
    axes.set_ylim(-len(rows) + 0.5, 0.5 if rows else 1)
    axes.set_xlabel(f'difference in {metric} (percent points)')
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.tick_params(axis='y', length=0)
    figure.legend(loc='outside upper right', frameon=False)
    return figure


def _style(verdict: str) -> tuple[str, str]:
    return {'gain': (GAIN, '^'), 'loss': (LOSS, 'v')}.get(verdict.split(' ')[0], (NOT_SHOWN, 'o'))


def _label(row: dict) -> str:
    seeds = '1 seed' if row['seeds'] == 1 else f'{row["seeds"]} seeds'
    verdict = row['verdict'] or 'also looked at'
    if 'but' in verdict:
        verdict = verdict.partition(',')[0]
    return f'{row["arm"]} - {row["baseline"]}\n{row["mode"]}, {seeds}\n{verdict}'
