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
SHOWN, NOT_SHOWN = COLOURS['blue'], COLOURS['grey']
INTERVALS = (('over_seeds', 's', 0.14), ('over_images', 'o', -0.14))  # key, marker and place of each kind


def class_chart(names: Sequence[str], values: Sequence[float | None], label: str, intervals: Sequence = ()) -> Figure:
    """Draw a bar for each class, the first on top: blue above zero, orange below; none for None.

    ``intervals`` may give 'low', 'high' and 'verdict' of each class, or None: a bar that they do not show is pale.

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
            shown = not intervals or interval.get('verdict') in ('gain shown', 'loss shown')
            style = {'color': COLOURS['blue' if value >= 0 else 'orange'], 'alpha': 1 if shown else 0.4}
            axes.barh(place, value, height=0.66, linewidth=0, **style)
            if interval.get('low') is not None:
                axes.plot([interval['low'], interval['high']], [place] * 2, color='black', linewidth=1)
        axes.axvline(0, color='black', linewidth=0.8)
        axes.set_yticks(range(len(names)), [name if len(name) <= 20 else f'{name[:19]}…' for name in names])
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
        figure = Figure(figsize=(WIDTH, 2.5), layout='constrained')
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


def forest_plot(differences: Sequence[dict]) -> Figure:
    """Draw the differences in mIoU of a report with their intervals, one line each; grey is what is not shown.

    Example:
        >>> interval = {'low': -0.1, 'high': 0.5, 'verdict': 'not shown'}
        >>> row = {'arm': 'SR', 'baseline': 'FCN', 'mode': 'slide', 'metric': 'mIoU', 'seeds': 5, 'difference': 0.2}
        >>> figure = forest_plot([{**row, 'over_seeds': interval, 'over_images': None}])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['SR - FCN\\nslide, 5 seeds']
    """
    rows = [row for row in differences if row['metric'] == 'mIoU']
    figure = Figure(figsize=(7, 1.3 + 0.6 * max(1, len(rows))), dpi=150, layout='constrained')
    axes = figure.add_subplot()
    axes.axvline(0, color='black', linewidth=0.8)
    for kind, marker, offset in INTERVALS:
        for position, row in enumerate(rows):
            _draw(axes, row['difference'], row[kind], -position + offset, marker)
        axes.plot([], [], marker, color='black', markersize=5, label=f'95 % {kind.replace("_", " ")}')
    seeds = ['1 seed' if row['seeds'] == 1 else f'{row["seeds"]} seeds' for row in rows]
    names = [f'{row["arm"]} - {row["baseline"]}\n{row["mode"]}, {each}' for row, each in zip(rows, seeds, strict=True)]
    axes.set_yticks(range(0, -len(rows), -1), names)
    axes.set_ylim(-len(rows) + 0.5, 0.5 if rows else 1)
    axes.set_xlabel('difference in mIoU (percent points); grey: not shown')
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.tick_params(axis='y', length=0)
    figure.legend(loc='outside upper right', ncols=2, frameon=False, fontsize='small')
    return figure


def _draw(axes, difference: float, interval: dict | None, height: float, marker: str) -> None:
    known = interval is not None and interval['low'] is not None
    color = SHOWN if known and interval['verdict'] != 'not shown' else NOT_SHOWN
    if known:
        axes.plot([interval['low'], interval['high']], [height, height], color=color, linewidth=2)
    axes.plot([difference], [height], marker, color=color, markersize=5, fillstyle='full' if known else 'none')
