"""Draw the SR block, as the README shows it.

python scripts/draw_block.py docs/sr_block.png
"""

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

INK, MAP, MEMORY, GATE = '#222222', '#9ecae1', '#fdae6b', '#c7e9c0'


def block_diagram() -> Figure:
    """Draw the block's three steps, with shapes in the letters of ``models/block.py`` and P = 3."""
    figure = Figure(figsize=(10, 3.6), facecolor='white', layout='constrained')
    axes = figure.add_subplot()
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 36)
    axes.axis('off')

    _stack(axes, 3, 15, MAP, 'x', 'N × C × H × W', depth=3)
    _stack(axes, 24, 15, MAP, 'squeezed', 'N × 1 × H × W', depth=1)
    for index, label in enumerate(('Linear\nH·W → U', 'Linear\nU → P', 'softmax\nover P')):
        _box(axes, 41 + 11 * index, 16, 9, 6, label)
        _stack(axes, 41 + 11 * index, 3, MEMORY, f'M$_{index + 1}$', '', depth=3, size=6)
    axes.text(40, 6, 'memory\nP × C × H × W', ha='right', va='center', fontsize=8, color=INK)
    axes.text(81, 7, 'Σ', ha='center', va='center', fontsize=20, color=INK)
    axes.text(81, 29.5, '+', ha='center', va='center', fontsize=20, color=INK)
    _stack(axes, 89, 25.5, MAP, 'output', 'N × C × H × W', depth=3)

    _arrow(axes, (13, 19), (23.5, 19), '1×1 conv\nC → 1', shift=(0, 2.4))
    _arrow(axes, (32.3, 19), (40.5, 19), 'flatten')
    _arrow(axes, (50.3, 19), (51.7, 19))
    _arrow(axes, (61.3, 19), (62.7, 19))
    _arrow(axes, (72.3, 18), (79.5, 9.5), 'weights\nN × P', shift=(-3.5, -2))
    _arrow(axes, (73, 7), (78.8, 7))
    _arrow(axes, (81, 9.5), (81, 27), 'recalled\nN × C × H × W', shift=(6, 0))
    axes.plot([7.7, 7.7], [24.6, 29.5], color=INK, linewidth=1)
    _arrow(axes, (7.7, 29.5), (79, 29.5))
    _arrow(axes, (83, 29.5), (88.5, 29.5))
    for x, step in ((18, '1 squeeze'), (56, '2 remember'), (81, '3 add')):
        axes.text(x, 34.5, step, ha='center', fontsize=11, weight='bold', color=INK)
    return figure


def _box(axes: Axes, x: float, y: float, width: float, height: float, label: str) -> None:
    axes.add_patch(Rectangle((x, y), width, height, facecolor=GATE, edgecolor=INK))
    axes.text(x + width / 2, y + height / 2, label, ha='center', va='center', fontsize=8.5, color=INK)


def _stack(axes: Axes, x: float, y: float, color: str, label: str, shape: str, depth: int, size: float = 8) -> None:
    """A feature map: as many sheets as its channels suggest, its name inside, its shape below."""
    for layer in reversed(range(depth)):
        axes.add_patch(Rectangle((x + 0.7 * layer, y + 0.7 * layer), size, size, facecolor=color, edgecolor=INK))
    axes.text(x + size / 2, y + size / 2, label, ha='center', va='center', fontsize=8.5, color=INK)
    axes.text(x + size / 2, y - 1.2, shape, ha='center', va='top', fontsize=8, color=INK)


def _arrow(axes: Axes, start: tuple, end: tuple, label: str = '', shift: tuple = (0, 1.3)) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle='-|>', mutation_scale=12, color=INK, shrinkA=0, shrinkB=0))
    middle = [(a + b) / 2 + offset for a, b, offset in zip(start, end, shift, strict=True)]
    axes.text(*middle, label, ha='center', va='center', fontsize=8, color=INK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT.png', help='picture to write; .svg and .pdf work too')
    out = parser.parse_args().out
    if not out.parent.is_dir():
        parser.error(f'no such folder: {out.parent}')
    if not out.suffix or out.is_dir():
        parser.error(f'{out} is no name of a picture: OUT.png, .svg or .pdf')
    try:
        block_diagram().savefig(out, dpi=120)
    except ValueError as error:  # an ending that matplotlib cannot write
        parser.error(f'cannot draw {out}: {error}')
    print(out)


if __name__ == '__main__':
    main()
