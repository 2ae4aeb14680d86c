"""Charts of the report page, small enough for a phone: differences by class, and training curves."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Told apart by colour-blind people too. The page replaces them, for its light and dark scheme.
COLOURS = {
    'grey': '#6b6b6b',
    'blue': '#0072b2',
    'orange': '#d55e00',
    'green': '#009e73',
    'purple': '#cc79a7',
    'gold': '#b38600',
    'rule': '#b0b1b2',
}
NETWORKS = list(COLOURS.values())[:-1]
DASHES = ('-', '--', '-.', ':')
WIDTH = 3.9  # inches, of 8 points' text: readable at the width of a phone
STYLE = {'font.size': 8, 'text.parse_math': False, 'axes.spines.top': False, 'axes.spines.right': False}


def class_chart(names: Sequence[str], values: Sequence[float | None], label: str, intervals: Sequence = ()) -> Figure:
    """Draw a bar for each class: blue above zero, orange below; pale where ``intervals`` do not show it.

    Args:
        names: Of the classes, the first on top.
        values: Their numbers; None leaves a gap.
        label: What the numbers are.
        intervals: For each class 'low', 'high' (or null) and 'verdict', or None; none at all if there are none.

    Example:
        >>> figure = class_chart(['road', 'car'], [0.5, None], 'difference')
        >>> [float(bar.get_width()) for bar in figure.axes[0].patches]
        [0.5]
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.2 * len(names)), layout='constrained')
        axes = figure.add_subplot()
        for place, value in enumerate(values):
            interval = (intervals[place] if intervals else None) or {}
            if value is None:
                continue
            shown = not intervals or interval.get('verdict') in ('gain shown', 'loss shown')
            color = COLOURS['blue' if value >= 0 else 'orange']
            axes.barh(place, value, height=0.66, color=color, alpha=1 if shown else 0.4, linewidth=0)
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
    """Draw a line for each training, those of one network in one colour.

    Args:
        curves: For each network its trainings, each a number by iteration.
        label: What the numbers are.

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
