"""Choose images of a data set, look at what a network and its SR blocks do to them, and draw it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray
from torch import nn

from ..datasets.build import read_picture, spread
from ..datasets.loading import samples
from ..errors import UserError, blame
from ..memory.observe import Seen, has_pixels, observe
from ..memory.stats import GroupWeights
from ..memory.summary import Summary
from ..names import nearest
from ..progress import Bar
from . import memory_figures as figures_of
from .pictures import Picture

MANY = 29  # classes that a figure shows: as many panels as can be read, beside the one of all images


def choose(dataset: BaseDataset, count: int) -> list[int]:
    """Choose ``count`` images evenly; of a data set of classifiers so many of each class, class by class."""
    groups: dict[int, list[int]] = {}
    for index, sample in enumerate(samples(dataset)):
        label = sample.get('gt_label', 0)
        if np.ndim(label):
            raise UserError(
                f'{sample["img_path"]} has several labels: only classifiers with one an image are looked at'
            )
        groups.setdefault(int(label), []).append(index)
    return [groups[label][place] for label in sorted(groups) for place in spread(len(groups[label]), count)]


def choose_classes(classes: Sequence[str], names: Sequence[str] = ()) -> list[int]:
    """Return the indices of classes by their ``names``, or, without names, of all; of many :data:`MANY`, evenly chosen.

    Where a class has several names, as in ImageNet, the first is enough.
    """
    known = {name.partition(',')[0]: index for index, name in enumerate(classes)}
    known |= {name: index for index, name in enumerate(classes)}
    for name in names:
        if name not in known:
            raise UserError(f'--classes: no class is called {name}{nearest(name, known)}')
    return [known[name] for name in names] or spread(len(classes), MANY)


def read(dataset: BaseDataset, index: int, split: str = 'val') -> dict:
    """Load an image, by the data set's pipeline."""
    with blame(f'read image {index} of {split}'):
        return dataset[index]


def see(
    model: nn.Module, dataset: BaseDataset, count: int, split: str = 'val', title: str = '', ablate: bool = True
) -> tuple[list[int], list[Seen]]:
    """Look at the images that :func:`choose` finds: their indices, and what was seen.

    Memory blocks are taken out for ``count`` of them, which are all images of a segmentor. A bar says the ``title``.
    """
    chosen = choose(dataset, count)
    ablated = spread(len(chosen), count) if ablate else []
    bar = Bar(chosen, title or split, unit='image')
    return chosen, [observe(model, read(dataset, index, split), place in ablated) for place, index in enumerate(bar)]


def picture_of(sample: dict, seen: Seen, classes: Sequence[str]) -> Picture:
    """Make the picture of an image to draw: the file, and for a classifier the part of it that it is given."""
    if has_pixels(sample):
        return Picture(Path(seen.path).stem, read_picture(seen.path, seen.prediction.shape), seen.prediction)
    said = seen.said(classes)
    return Picture(f'{said["class"] or Path(seen.path).stem}\npredicted: {said["predicted"]}', given(sample))


def given(sample: dict) -> NDArray[np.uint8]:
    """Show what a classifier is given, as RGB (height, width, 3): other than three channels by their mean."""
    image = np.moveaxis(sample['inputs'].numpy(), 0, -1)
    if image.shape[-1] != 3:
        image = image.mean(-1, keepdims=True).repeat(3, -1)
    if image.dtype != np.uint8:
        image = np.interp(image, (image.min(), image.max()), (0, 255))
    return image[..., ::-1].astype(np.uint8)


def block_figures(
    name: str,
    summary: Summary,
    drawn: Sequence[tuple[Picture, Seen]],
    palette: Sequence,
    shown: Sequence[int],
    columns: int = 5,
) -> dict[str, Figure]:
    """Draw what the SR block ``name`` does: a summary of all images, and some that are ``drawn``.

    Of the classes those are drawn that are ``shown``, by their indices. Most figures have ``columns`` of panels: two
    fit a phone.

    Returns:
        'weights' (with labels only), 'drives' (where file names give them), 'maps', 'memory', and, where memory blocks
        were taken out, 'scores' and, of a segmentor, 'places'.
    """
    pictures, blocks = [picture for picture, _ in drawn], [seen.blocks[name] for _, seen in drawn]
    count, (_, overall), figures = len(summary.weights), summary.groups['all'], {}
    classes = [summary.classes[index] for index in shown]
    if 'classes' in summary.groups:
        by_class = GroupWeights(*(each[shown] for each in summary.groups['classes'][1]))
        note = f'over {count} images, {_weighted(summary, shown)}'
        figures['weights'] = figures_of.weights_figure(name, classes, by_class, overall, note, columns)
    if 'drives' in summary.groups:
        note = f'over {count} images, those of each city or drive by themselves'
        figures['drives'] = figures_of.weights_figure(name, *summary.groups['drives'], overall, note, columns)
    maps = [(block.before, block.after) for block in blocks]
    figures['maps'] = figures_of.maps_figure(name, pictures, maps, summary.classes, palette, columns)
    figures['memory'] = figures_of.memory_figure(name, summary.memory_means, summary.norms, overall.mean[0], columns)
    if summary.flips is not None:
        note = f'mean over {summary.ablated} images; mean |logit|: {summary.logit_size:.2g}'
        figures['scores'] = figures_of.scores_figure(
            name, classes, summary.score_change[:, shown], summary.flips, note, summary.of
        )
    if all(block.place_change is not None for block in blocks):
        figures['places'] = figures_of.places_figure(name, pictures, [block.place_change for block in blocks], columns)
    return figures


def _weighted(summary: Summary, shown: Sequence[int]) -> str:
    of_pixels = "each weighted by the class's share of its pixels"
    return (of_pixels if summary.of == 'pixel' else 'those of each class by themselves') + _some(summary, shown)


def _some(summary: Summary, shown: Sequence[int]) -> str:
    return f'; {len(shown)} of {len(summary.classes)} classes' * (len(shown) < len(summary.classes))


def in_words(summary: Summary, shown: Sequence[int]) -> dict[str, str]:
    """Say what each figure of :func:`block_figures` shows and how to read it, with its chief numbers."""
    weights = ', '.join(f'{weight:.2f}' for weight in summary.groups['all'][1].mean[0])
    norms = ', '.join(f'{norm:.2g}' for norm in summary.norms)
    bars = 'Bars: mean and standard deviation; marks: over all images; in brackets: images with it. Over all:'
    flips = ', '.join(f'{100 * share:.2g} %' for share in (() if summary.flips is None else summary.flips))
    return {
        'weights': f'Softmax weight of each memory block in all images and by class, {_weighted(summary, shown)}. '
        f'{bars} {weights}.',
        'drives': f'Softmax weight of each memory block by city or drive. {bars} {weights}.',
        'maps': 'The channel mean of the map before the block and after it. In brackets: the mean of the difference, '
        f'relative to that before. What is added has {100 * summary.shift.mean():.2g} % of the norm of the map.',
        'memory': 'Channel mean of each memory block, cell by cell; the norm is of all its channels, the weight the '
        f'mean over the images. Norms: {norms}.',
        'scores': "Change of each class's mean logit when a memory block is taken out, over "
        f'{summary.ablated} images{_some(summary, shown)}. {summary.of.capitalize()}s that are predicted as another '
        f'class then: {flips}. Mean size of a logit: {summary.logit_size:.2g}.',
        'places': 'Where the logits change when a memory block is taken out: the mean size of the change over the '
        'classes, in pixels of the picture.',
    }
