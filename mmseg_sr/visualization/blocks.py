"""All figures of one SR block, from what was seen of it in some images, and what each of them says in words."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..analysis.observe import Seen
from ..analysis.summary import Summary
from ..engine.inspection import read_picture
from .maps import Picture
from .memory import maps_figure, memory_figure, places_figure, scores_figure, weights_figure


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
