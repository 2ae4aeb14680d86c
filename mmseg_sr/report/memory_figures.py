"""Figures of a memory, as the paper's Figs 2 to 7 and what segmentation adds to them.

Shape letters: K classes or other groups, P memory blocks, (H, W) size of the memory, (h, w) size of a map.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ..memory.stats import GroupWeights, mean_shift
from .charts import COLOURS, WIDTH, short
from .pictures import SMALL, Picture, colour, colour_bar, row_height, show, show_picture, show_signed

PANEL = WIDTH / 2  # inches


def weights_figure(
    title: str, names: Sequence[str], weights: GroupWeights, overall: GroupWeights, note: str, columns: int = 5
) -> Figure:
    """Draw the softmax weights of all images, and of each of K groups; one with NaN is in no image: Figs 2, 5, 6, 7."""
    panels = [('all', overall.mean[0], overall.std[0], overall.images[0])]
    panels += zip(names, *weights, strict=True)
    width, columns = PANEL * columns, min(columns + 1, len(panels))
    rows = -(-len(panels) // columns)
    note = f'Bars: mean and standard deviation, {note}.\nIn brackets: images with it. Black marks: over all images.'
    title = f'Softmax weights of the memory blocks · {title}'
    figure, grid = _sheet(title, note, (width, 1.2 * rows + 1), rows, columns, shared=True)
    blocks = np.arange(overall.mean.shape[1])
    for ax, (name, mean, std, images) in zip(grid.flat, panels, strict=False):
        ax.set_title(f'{short(name)} ({images})', fontsize=SMALL, weight='bold' if ax is grid[0, 0] else 'normal')
        ax.tick_params(labelsize=SMALL)
        if np.isnan(mean).any():
            ax.text(0.5, 0.5, 'in no image', transform=ax.transAxes, ha='center', fontsize=SMALL)
            continue
        ax.bar(blocks, mean, yerr=std, color=COLOURS['blue'], alpha=0.6, ecolor='black', capsize=2)
        ax.plot(blocks, overall.mean[0], 'k_', markersize=50 / len(blocks), markeredgewidth=1.5)
    for ax in grid.flat[len(panels) :]:
        ax.remove()
    grid[0, 0].set(xticks=blocks, ylim=(0, 1 if np.nanmax(overall.mean) > 0.4 else None))
    grid[-1, 0].set_xlabel('memory block', fontsize=SMALL)
    figure.supylabel('softmax weight', fontsize=SMALL)
    return figure


def maps_figure(
    title: str, pictures: Sequence[Picture], maps: Sequence, names: Sequence[str], palette, columns: int = 5
) -> Figure:
    """Draw for each picture channel-mean maps (h, w) before and after the block, and their difference: Fig. 3.

    Before them stands a segmentor's prediction.
    """
    present = sorted(
        {k for picture in pictures if picture.prediction is not None for k in np.unique(picture.prediction)}
    )
    count = 5 if present else 4
    figure, grid = _rows(
        f'Channel-mean activation around the SR block · {title}', '', pictures, count, min(columns, count), below=2.1
    )
    lowest, highest = min(np.min(pair) for pair in maps), max(np.max(pair) for pair in maps)
    limit = max(np.abs(after - before).max() for before, after in maps)
    for row, picture, (before, after) in zip(grid, pictures, maps, strict=True):
        show_picture(row[0], picture.image, picture.name)
        if present:
            show_picture(row[1], colour(picture.prediction, palette), 'prediction')
        for ax, name, values in ((row[-3], 'before', before), (row[-2], 'after', after)):
            plain = show(ax, values, picture, name, cmap='cividis', vmin=lowest, vmax=highest)
        change = f'difference ({100 * mean_shift(before, after):.2g} %)'
        signed = show_signed(row[-1], after - before, picture, change, limit)
    colour_bar(figure, plain, figure.axes[: grid.size], 'mean activation over the channels')
    colour_bar(figure, signed, figure.axes[: grid.size], 'after − before (dots: negative)')
    shades = np.maximum(palette, 1) / 255  # never black, which the page replaces
    handles = [Patch(facecolor=shades[k], edgecolor='k', label=short(names[k])) for k in present]
    legend = figure.legend(handles=handles, loc='outside lower center', ncols=2 * columns - 1, fontsize=SMALL)
    legend.set_frame_on(False)
    note = 'Axes: pixels of the picture. In brackets: mean |after − before| relative to mean |before|.'
    legend.set_title(note, prop={'size': SMALL})
    return figure


def memory_figure(title: str, means: NDArray, norms: NDArray, weights: NDArray, columns: int = 5) -> Figure:
    """Draw the channel mean (P, H, W) of each memory block, with its norm (P,) and mean softmax weight (P,): Fig. 4."""
    columns = min(len(means), columns)
    rows = -(-len(means) // columns)
    height = min(0.85 * PANEL * means.shape[1] / means.shape[2], 3)
    size = (max(PANEL * columns, WIDTH), (height + 0.5) * rows + 1.4)
    note = 'Axes: cells of the map. Norm: of all channels. Weight: mean over the images.'
    figure, grid = _sheet(f'Memory blocks · {title}', note, size, rows, columns)
    for index, (ax, values) in enumerate(zip(grid.flat, means, strict=False)):
        name = f'block {index}\nnorm {norms[index]:.3g}, weight {weights[index]:.2f}'
        signed = show_signed(ax, values, None, name, np.abs(means).max())
    for ax in grid.flat[len(means) :]:
        ax.remove()
    colour_bar(figure, signed, figure.axes, 'mean over the channels (dots: negative)')
    return figure


def scores_figure(
    title: str, names: Sequence[str], change: NDArray, flips: NDArray, note: str, of: str = 'pixel'
) -> Figure:
    """Draw a heat map of the mean change (P, K) of the logits of each class when a memory block is taken out.

    ``flips`` (P,) is the share of the pixels, or of what else has a class, that are predicted as another one then.
    """
    size = (max(0.75 * len(change) + 2.8, 6), 0.3 * len(names) + 2.2)
    title = f'Change of the class scores without a memory block\n{title}'
    figure, ((ax,),) = _sheet(title, f'Logit without the block − logit with it, {note}.', size)
    largest = np.abs(change).max()
    exponent = 0 if largest == 0 or 0.1 <= largest < 100 else int(np.floor(np.log10(largest)))
    values = change.T / 10.0**exponent  # one digit before the point
    limit = np.abs(values).max() or 1
    heat = ax.imshow(values, cmap='RdBu_r', vmin=-limit, vmax=limit, aspect='auto')
    for (label, block), value in np.ndenumerate(values):
        ink = 'white' if abs(value) > 0.6 * limit else 'black'
        ax.text(block, label, f'{value:+.2f}', ha='center', va='center', fontsize=SMALL, color=ink)
    ax.set_yticks(range(len(names)), names, fontsize=SMALL)
    ax.set_xticks(range(len(flips)), [f'{i}\n{100 * share:.2g} %' for i, share in enumerate(flips)], fontsize=SMALL)
    ax.set_xlabel(f'memory block taken out; below it the {of}s that change their class then', fontsize=SMALL)
    colour_bar(figure, heat, ax, 'change of the logit' + (rf', in $10^{{{exponent}}}$' if exponent else ''))
    return figure


def places_figure(title: str, pictures: Sequence[Picture], change: Sequence[NDArray], columns: int = 5) -> Figure:
    """Draw where in each picture each memory block changes the scores: mean |change of the logits| (P, h, w)."""
    count = len(change[0]) + 1
    title = f'Where the scores change without a memory block · {title}'
    note = 'Axes: pixels of the picture. |Logit without the block − logit with it|.'
    figure, grid = _rows(title, note, pictures, count, min(columns, count), below=1.1)
    highest = max(each.max() for each in change) or 1
    for row, picture, maps in zip(grid, pictures, change, strict=True):
        show_picture(row[0], picture.image, picture.name)
        for block, (ax, values) in enumerate(zip(row[1:], maps, strict=True)):
            shown = show(ax, values, picture, f'block {block}', cmap='cividis', vmin=0, vmax=highest)
    colour_bar(figure, shown, figure.axes, 'mean |change of a logit| over the classes')
    return figure


def _rows(
    title: str, note: str, pictures: Sequence[Picture], count: int, columns: int, below: float
) -> tuple[Figure, NDArray]:
    """Make a figure with ``count`` panels for each picture, in lines of some columns: axes (pictures, count).

    Title, colour bars and what else stands above or below these take some inches, ``below``.
    """
    rows = -(-count // columns) * len(pictures)
    figure, grid = _sheet(title, note, (PANEL * columns, row_height(pictures) * rows + below), rows, columns)
    grid = grid.reshape(len(pictures), -1)
    for ax in grid[:, count:].flat:
        ax.remove()
    return figure, grid[:, :count]


def _sheet(title: str, note: str, size: tuple, rows: int = 1, columns: int = 1, shared: bool = False) -> tuple:
    """Make a figure of some inches with a title and a note below it, and its axes (rows, columns)."""
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(title, fontsize=11)
    if note:
        figure.supxlabel(note, fontsize=SMALL)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)
