"""Figures of a report's numbers, as matplotlib Figure objects: no global state, no display."""

from collections.abc import Sequence

from matplotlib.figure import Figure

SHOWN, NOT_SHOWN = '#1b6ca8', '#9a9a9a'
STYLES = {'over_seeds': ('over seeds', 's', 0.14), 'over_images': ('over images', 'o', -0.14)}


def forest_plot(differences: Sequence[dict], metric: str = 'mIoU') -> Figure:
    """Draw the differences to the baselines with their intervals, one line each, and the line of no difference.

    Grey is what is not shown: an interval that holds zero, or none at all.

    Args:
        differences: 'differences' of a report's document: each with 'arm', 'baseline', 'mode', 'metric', 'seeds',
            'difference', and 'over_seeds' and 'over_images' with 'low', 'high' and 'verdict', or None.
        metric: Which of their metrics.

    Returns:
        A figure to be saved: ``figure.savefig('forest.png')``.

    Example:
        >>> interval = {'low': -0.1, 'high': 0.5, 'verdict': 'not shown'}
        >>> row = {'arm': 'SR', 'baseline': 'FCN', 'mode': 'slide', 'metric': 'mIoU', 'seeds': 5, 'difference': 0.2}
        >>> figure = forest_plot([{**row, 'over_seeds': interval, 'over_images': None}])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['SR - FCN\\nslide, 5 seeds']
    """
    rows = [row for row in differences if row['metric'] == metric]
    figure = Figure(figsize=(7, 1.3 + 0.6 * max(1, len(rows))), dpi=150, layout='constrained')
    axes = figure.add_subplot()
    axes.axvline(0, color='black', linewidth=0.8)
    for kind, (label, marker, offset) in STYLES.items():
        for position, row in enumerate(rows):
            _draw(axes, row['difference'], row[kind], -position + offset, marker)
        axes.plot([], [], marker, color='black', markersize=5, label=f'95 % {label}')
    axes.set_yticks(
        [-position for position in range(len(rows))],
        [
            f'{row["arm"]} - {row["baseline"]}\n{row["mode"]}, {row["seeds"]} seed{"s" * (row["seeds"] != 1)}'
            for row in rows
        ],
    )
    axes.set_ylim(-len(rows) + 0.5, 0.5 if rows else 1)
    axes.set_xlabel(f'difference in {metric} (percent points); grey: not shown')
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
