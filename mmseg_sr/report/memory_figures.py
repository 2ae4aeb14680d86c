"""Figures of a memory: arrays to matplotlib figures, as the paper's Figs 2 to 7 and what segmentation adds to them.

Shape letters: K classes or other groups, P memory blocks, (H, W) size of the memory, (h, w) size of a map.

Every figure says what it shows. What has a sign is drawn from blue to red around zero, with dots where it is negative,
so that it can be told in greyscale too; what has none in the colours of cividis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from ..datasets.build import read_picture
from ..memory.observe import Seen
from ..memory.stats import GroupWeights, mean_shift
from ..memory.summary import Summary
from .pictures import colour

SMALL = 8  # points
BAR, EDGE = '#8fb3d9', '#22405e'


@dataclass
class Picture:
    """An image to draw: its name, colours (height, width, 3), and the predicted class of each pixel of it."""

    name: str
    image: NDArray
    prediction: NDArray


def block_figures(name: str, summary: Summary, drawn: Sequence[Seen], palette: Sequence) -> dict[str, Figure]:
    """Draw what one SR block does.

    Args:
        name: The block's name in the model.
        summary: What it does to all images looked at.
        drawn: The images to draw, with their files still there.
        palette: Colours of the classes (K, 3).

    Returns:
        'weights' (with labels only), 'drives' (where file names tell them), 'maps', 'memory', and, where memory blocks
        were taken out, 'scores' and 'places'.
    """
    pictures = [
        Picture(Path(seen.path).stem, read_picture(seen.path, seen.prediction.shape), seen.prediction) for seen in drawn
    ]
    blocks = [seen.blocks[name] for seen in drawn]
    before, after = [block.before for block in blocks], [block.after for block in blocks]
    drawings = {
        'maps': maps_figure(name, pictures, before, after, summary.classes, palette),
        'memory': memory_figure(name, summary.memory_means, summary.norms, summary.everything.mean[0]),
    }
    count = len(summary.weights)
    groups = {
        'weights': (
            summary.classes,
            summary.by_class,
            f"over {count} images, each weighted by the class's share of its pixels",
        ),
        'drives': (summary.drives, summary.by_drive, f'over the images of a city or drive, {count} in all'),
    }
    for ending, (names, weights, note) in groups.items():
        if weights is not None:
            drawings[ending] = weights_figure(name, names, weights, summary.everything, note)
    if summary.flips is not None:
        note = f'mean over {count} images; mean |logit|: {summary.logit_size:.2g}'
        drawings['scores'] = scores_figure(name, summary.classes, summary.score_change, summary.flips, note)
        drawings['places'] = places_figure(name, pictures, [block.place_change for block in blocks])
    return drawings


def in_words(summary: Summary) -> dict[str, str]:
    """Say what each figure of :func:`block_figures` shows, with its chief numbers: a text in its place."""
    weights = ', '.join(f'{weight:.2f}' for weight in summary.everything.mean[0])
    norms = ', '.join(f'{norm:.2g}' for norm in summary.norms)
    words = {
        'weights': f'Softmax weight of each memory block, for all images and by class. Over all images: {weights}.',
        'drives': f'Softmax weight of each memory block by city or drive. Over all images: {weights}.',
        'maps': 'Pictures, their predictions, and the channel mean of the map before the block, after it and the '
        f'difference. What is added has {100 * summary.shift.mean():.2g} % of the norm of the map.',
        'memory': f'Channel mean of each memory block, cell by cell. Norms: {norms}.',
    }
    if summary.flips is not None:
        flips = ', '.join(f'{100 * share:.2g} %' for share in summary.flips)
        words['scores'] = (
            "Change of each class's score when a memory block is taken out, for each block. Pixels that are predicted "
            f'as another class then: {flips}.'
        )
        words['places'] = 'Where in the pictures the scores change when a memory block is taken out, for each block.'
    return words


def weights_figure(
    title: str, names: Sequence[str], weights: GroupWeights, everything: GroupWeights, note: str
) -> Figure:
    """Softmax weights of each group, with an 'all' panel (the paper's Figs 2, 5, 6 and 7).

    Args:
        title: The SR block's name.
        names: Names of the K groups.
        weights: Their mean and std (K, P); a group with NaN is in no image.
        everything: The same for one group with all images (1, P), drawn first, and as marks in every panel.
        note: How the weights were averaged.
    """
    panels = [('all', everything.mean[0], everything.std[0], everything.images[0])]
    panels += zip(names, *weights, strict=True)
    columns = 4 if len(panels) <= 12 else 5
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.3 * columns, 1.55 * rows + 1.2), layout='constrained')
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    blocks = np.arange(everything.mean.shape[1])
    for ax, (name, mean, std, images) in zip(grid, panels, strict=False):
        ax.set_title(f'{name} ({images})', fontsize=9, weight='bold' if ax is grid[0] else 'normal')
        if np.isnan(mean).any():
            ax.text(0.5, 0.5, 'in no image', transform=ax.transAxes, ha='center', fontsize=SMALL)
            continue
        ax.bar(blocks, mean, yerr=std, color=BAR, edgecolor=EDGE, ecolor=EDGE, capsize=2)
        ax.plot(blocks, everything.mean[0], 'k_', markersize=60 / len(blocks), markeredgewidth=1.5)
    for ax in grid[len(panels) :]:
        ax.remove()
    grid[0].set(xticks=blocks, ylim=(0, 1 if np.nanmax(everything.mean) > 0.4 else None))
    figure.suptitle(f'Softmax weights of the memory blocks · {title}', fontsize=11)
    figure.supylabel('softmax weight', fontsize=9)
    figure.supxlabel(
        f'memory block\n\nBars: mean, with the standard deviation as a line, {note}.\n'
        'In brackets: images with it. Black marks: mean over all images.',
        fontsize=SMALL,
    )
    return figure


def maps_figure(
    title: str,
    pictures: Sequence[Picture],
    before: Sequence[NDArray],
    after: Sequence[NDArray],
    names: Sequence[str],
    palette: NDArray,
) -> Figure:
    """Picture, prediction, and the channel-mean map before the block, after it, and their difference (Fig. 3).

    Args:
        title: The SR block's name.
        pictures: What to draw, one a row.
        before: Channel-mean map (h, w) before the block for each picture.
        after: The same after the block.
        names: Names of the K classes.
        palette: Colours of the classes (K, 3), 0 to 255.
    """
    figure = Figure(figsize=(12, row_height(pictures) * len(pictures) + 1.5), layout='constrained')
    grid = figure.subplots(len(pictures), 5, squeeze=False)
    values = np.concatenate([np.ravel(each) for each in (*before, *after)])
    limit = max(np.abs(y - x).max() for x, y in zip(before, after, strict=True))
    for row, picture, x, y in zip(grid, pictures, before, after, strict=True):
        show_picture(row[0], picture.image, picture.name)
        show_picture(row[1], colour(picture.prediction, palette), 'prediction')
        for ax, name, values_shown in ((row[2], 'before', x), (row[3], 'after', y)):
            plain = show(ax, values_shown, picture, name, cmap='cividis', vmin=values.min(), vmax=values.max())
        signed = show_signed(row[4], y - x, picture, f'difference ({100 * mean_shift(x, y):.2g} %)', limit)
    colour_bar(figure, plain, grid[:, 2:4], 'mean activation over the channels')
    colour_bar(figure, signed, grid[:, 4], 'after − before (dots: negative)')
    present = np.unique(np.concatenate([np.unique(picture.prediction) for picture in pictures]))
    figure.legend(
        handles=[Patch(facecolor=np.asarray(palette[k]) / 255, edgecolor='k', label=names[k]) for k in present],
        loc='outside lower center',
        ncols=min(len(present), 10),
        fontsize=SMALL,
        title='Axes: pixels of the picture. In brackets: mean |after − before| relative to mean |before|.',
        title_fontsize=SMALL,
    )
    figure.suptitle(f'Channel-mean activation around the SR block · {title}', fontsize=11)
    return figure


def memory_figure(title: str, means: NDArray, norms: NDArray, weights: NDArray) -> Figure:
    """Channel-mean map of each memory block (Fig. 4).

    Args:
        title: The SR block's name.
        means: Mean over the channels of each block (P, H, W).
        norms: Euclidean norm of each block (P,).
        weights: Mean softmax weight of each block (P,).
    """
    columns = min(len(means), 5)
    rows = -(-len(means) // columns)
    height = min(2.1 * means.shape[1] / means.shape[2], 3)
    figure = Figure(figsize=(max(2.1 * columns, 4) + 1.4, (height + 0.5) * rows + 1.2), layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, ax in enumerate(grid.flat):
        if index >= len(means):
            ax.remove()
            continue
        name = f'block {index}\nnorm {norms[index]:.3g}, weight {weights[index]:.2f}'
        signed = show_signed(ax, means[index], None, name, np.abs(means).max())
    colour_bar(figure, signed, grid, 'mean over the channels (dots: negative)')
    figure.suptitle(f'Memory blocks · {title}', fontsize=11)
    figure.supxlabel('Axes: cells of the map. Norm: of all channels. Weight: mean over the images.', fontsize=SMALL)
    return figure


def scores_figure(title: str, names: Sequence[str], change: NDArray, flips: NDArray, note: str) -> Figure:
    """Which memory block changes which class's score: a heat map of classes by blocks.

    Args:
        title: The SR block's name.
        names: Names of the K classes.
        change: Mean change of the logits when a memory block is taken out (P, K).
        flips: Share of the pixels that are predicted as another class then (P,).
        note: What was measured.
    """
    figure = Figure(figsize=(max(0.75 * len(change) + 2.8, 6), 0.3 * len(names) + 2.2), layout='constrained')
    ax = figure.subplots()
    unit, name = _unit(np.abs(change).max())
    values = change.T / unit
    limit = np.abs(values).max() or 1
    heat = ax.imshow(values, cmap='RdBu_r', vmin=-limit, vmax=limit, aspect='auto')
    for (label, block), value in np.ndenumerate(values):
        ink = 'white' if abs(value) > 0.6 * limit else 'black'
        ax.text(block, label, f'{value:+.2f}', ha='center', va='center', fontsize=SMALL, color=ink)
    ax.set_yticks(range(len(names)), names, fontsize=SMALL)
    ax.set_xticks(range(len(flips)), [f'{index}\n{100 * share:.2g} %' for index, share in enumerate(flips)])
    ax.tick_params(axis='x', labelsize=SMALL)
    ax.set_xlabel(
        'memory block taken out; below it the pixels that are predicted as another class then', fontsize=SMALL
    )
    colour_bar(figure, heat, ax, f'change of the logit{name}')
    figure.suptitle(f'Change of the class scores without a memory block\n{title}', fontsize=11)
    figure.supxlabel(f'Logit without the block − logit with it, {note}.', fontsize=SMALL)
    return figure


def places_figure(title: str, pictures: Sequence[Picture], change: Sequence[NDArray]) -> Figure:
    """Where in the picture each memory block changes the scores.

    Args:
        title: The SR block's name.
        pictures: What to draw.
        change: Mean absolute change of the logits when a memory block is taken out (P, h, w), for each picture.
    """
    blocks = len(change[0])
    columns = min(blocks, 5)
    rows = -(-blocks // columns)
    height = row_height(pictures) * rows * len(pictures)
    figure = Figure(figsize=(2.2 * (columns + 1) + 1, height + 1.2), layout='constrained')
    grid = figure.subplots(rows * len(pictures), columns + 1, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    highest = max(each.max() for each in change) or 1
    for index, (picture, maps) in enumerate(zip(pictures, change, strict=True)):
        show_picture(grid[index * rows, 0], picture.image, picture.name)
        for block, values in enumerate(maps):
            ax = grid[index * rows + block // columns, 1 + block % columns]
            shown = show(ax, values, picture, f'block {block}', cmap='cividis', vmin=0, vmax=highest)
    colour_bar(figure, shown, grid, 'mean |change of a logit| over the classes')
    figure.suptitle(f'Where the scores change without a memory block · {title}', fontsize=11)
    figure.supxlabel('Axes: pixels of the picture. |Logit without the block − logit with it|.', fontsize=SMALL)
    return figure


def _unit(limit: float) -> tuple[float, str]:
    """The power of ten in which numbers up to ``limit`` have one digit before the point, and its name; 1 is ''."""
    if limit == 0 or 0.1 <= limit < 100:
        return 1.0, ''
    exponent = int(np.floor(np.log10(limit)))
    return 10.0**exponent, rf', in $10^{{{exponent}}}$'


def row_height(pictures: Sequence[Picture]) -> float:
    """Inches for a row of maps 1.9 inches wide, with its title."""
    height, width = max((picture.image.shape[:2] for picture in pictures), key=lambda size: size[0] / size[1])
    return min(1.9 * height / width, 4) + 0.4


def show_picture(ax: Axes, image: NDArray, name: str) -> None:
    """Draw a picture; a long name loses its middle."""
    ax.imshow(image)
    ax.set_title(name if len(name) <= 30 else f'{name[:14]}…{name[-14:]}', fontsize=SMALL)
    ax.set_axis_off()


def show(ax: Axes, values: NDArray, picture: Picture | None, name: str, **options) -> AxesImage:
    """Draw a map over the extent of its picture in pixels or, without one, in its own cells."""
    height, width = picture.image.shape[:2] if picture is not None else values.shape
    shown = ax.imshow(values, extent=(0, width, height, 0), interpolation='nearest', **options)
    ax.set_title(name, fontsize=SMALL)
    ax.set_axis_on()
    ax.tick_params(labelsize=6)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3, integer=True))
    return shown


def show_signed(ax: Axes, values: NDArray, picture: Picture | None, name: str, limit: float) -> AxesImage:
    """Draw a map whose sign counts, white at zero: from blue to red for -limit to limit, with dots where negative."""
    limit = limit or 1
    shown = show(ax, values, picture, name, cmap='RdBu_r', vmin=-limit, vmax=limit)
    step = -(-values.shape[1] // 32)  # dots of their own down to 32 a row
    rows, columns = np.nonzero(values[::step, ::step] < 0)
    left, right, bottom, top = shown.get_extent()
    x = left + (columns * step + 0.5) * (right - left) / values.shape[1]
    y = top + (rows * step + 0.5) * (bottom - top) / values.shape[0]
    ax.plot(x, y, 'ko', markersize=2.2, markeredgecolor='white', markeredgewidth=0.4)
    return shown


def colour_bar(figure: Figure, shown: AxesImage, axes: Axes | NDArray, label: str) -> None:
    """Set a colour bar beside one or several axes, with small and large numbers as powers of ten."""
    exponent = ScalarFormatter(useMathText=True)
    exponent.set_powerlimits((-3, 4))
    bar = figure.colorbar(shown, ax=axes, format=exponent, shrink=0.9, pad=0.01)
    bar.set_label(label, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.yaxis.get_offset_text().set_fontsize(SMALL)
