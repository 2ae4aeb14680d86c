"""Predict images with trained networks for a page, and draw what their memories do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from torch import nn

from ..datasets.build import check_pictures, load_split, read_picture, spread
from ..errors import UserError, blame
from ..memory.observe import observe
from ..memory.summary import summarise
from ..models.find import sr_blocks
from ..progress import Bar
from ..runs.models import class_names, load_model
from .html import inline_svg, painting, photograph
from .memory_figures import block_figures, in_words
from .pictures import changed_pixels, colour, paint_changes, shares


@dataclass(frozen=True)
class Network:
    """A trained network, and the name of the one that it is compared with: its own name, if there is none."""

    name: str
    baseline: str
    cfg: Config
    checkpoint: str | Path


@dataclass
class View:
    """An HTML element and the sentence below it."""

    html: Markup
    caption: str


@dataclass
class Gallery:
    """The pictures of a page."""

    scenes: list = field(default_factory=list)  # name of an image, and rows of views: of the image, of each network
    memories: dict = field(default_factory=dict)  # of each network its SR blocks: see _memories
    legend: list = field(default_factory=list)  # classes and their colours
    gaps: list[str] = field(default_factory=list)  # sentences on what is missing


def look(networks: Sequence[Network], pictures: int = 3, images: int = 20) -> Gallery:
    """Predict images of val with each network, and draw the memory of those with SR blocks.

    A baseline stands before the networks that are compared with it. Numbers of ``pictures`` to show, and of ``images``
    for the memory, are chosen evenly. A missing checkpoint or data set leaves a sentence, and no exception.
    """
    gallery, predicted = Gallery(), {}
    for network in networks:
        try:
            model = load_model(network.cfg, network.checkpoint, whole=True)
            dataset = load_split(network.cfg, 'val')
            check_pictures(dataset)
            classes, palette = class_names(model, dataset)
            if pictures:
                predicted[network.name] = _predict(model, dataset, pictures)
                gallery.legend = gallery.legend or list(zip(classes, palette, strict=True))
            if images and sr_blocks(model):
                chosen = Bar(spread(len(dataset), images), network.name, unit='image')
                seen = [observe(model, _read(dataset, index)) for index in chosen]
                key = f'memory{len(gallery.memories)}'
                gallery.memories[network.name] = _memories(key, model, seen, pictures or 1, classes, palette)
        except UserError as error:
            gallery.gaps.append(f'{network.name}: {error}.')
    _show(gallery, networks, predicted)
    return gallery


def _read(dataset: BaseDataset, index: int) -> dict:
    with blame(f'read image {index} of val'):
        return dataset[index]


@torch.no_grad()
def _predict(model: nn.Module, dataset: BaseDataset, count: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """File, ground truth (255 where there is none) and prediction (height, width) of some images."""
    found = []
    for index in spread(len(dataset), count):
        (result,) = model.test_step(pseudo_collate([_read(dataset, index)]))
        if 'gt_sem_seg' not in result:
            raise UserError('the data have no labels')
        truth, prediction = (each.data[0].cpu().numpy() for each in (result.gt_sem_seg, result.pred_sem_seg))
        void = truth == getattr(dataset, 'ignore_index', 255)
        found.append(
            (result.img_path, np.where(void, 255, truth), prediction.astype(np.uint8))
        )  # of a threshold: float
    return found


def _memories(
    key: str, model: nn.Module, seen: Sequence, pictures: int, classes: list[str], palette: list
) -> list[tuple]:
    """Name, Summary.document(), words of :func:`in_words` and views of each SR block; ``key`` begins ids."""
    drawn, found = [seen[index] for index in spread(len(seen), pictures)], []
    for name, block in sr_blocks(model).items():
        summary = summarise(seen, name, block, classes)
        figures, words, views = block_figures(name, summary, drawn, palette, columns=2), in_words(summary), []
        figures.pop('scores', None)  # a table of the page
        for kind, figure in figures.items():
            alt = figure.get_suptitle()
            views.append(View(inline_svg(_without_words(figure), f'{key}-{name}-{kind}', alt), words[kind]))
        found.append((name, summary.document(), words, views))
    return found


def _without_words(figure: Figure) -> Figure:
    """Take title and notes out of a figure: the page says it below."""
    figure.suptitle('')
    figure.supxlabel('')
    figure.set_figheight(figure.get_figheight() - 0.5)
    for legend in figure.legends:
        legend.set_title(None)
    return figure


def _show(gallery: Gallery, networks: Sequence[Network], predicted: Mapping[str, list]) -> None:
    """Put side by side what is predicted by the networks whose images are those of the first one."""
    paths = {name: [path for path, *_ in images] for name, images in predicted.items()}
    first = next(iter(paths.values()), [])
    gallery.gaps += [f'{name}: its data are other images.' for name, each in paths.items() if each != first]
    order = [network.name for network in networks]
    shown = [network for network in networks if paths.get(network.name) == first]
    shown.sort(key=lambda network: order.index(network.baseline))  # each after its baseline
    palette = [each for _, each in gallery.legend]
    for index, path in enumerate(first):
        images = {network.name: predicted[network.name][index] for network in shown}
        gallery.scenes.append((Path(path).stem, _rows(shown, images, palette)))


def _rows(networks: Sequence[Network], images: Mapping[str, tuple], palette: Sequence) -> list[list[View]]:
    path, truth, _ = images[networks[0].name]
    name, image = Path(path).stem, read_picture(path, truth.shape)

    def paint(labels: np.ndarray, alt: str) -> Markup:
        return painting(colour(np.where(truth == 255, 255, labels), palette), f'{alt} {name}, coloured by class.')

    rows = [[View(photograph(image, f'Picture {name}.'), 'picture')]]
    rows[0].append(View(paint(truth, 'Ground truth of'), 'ground truth'))
    for network in networks:
        ours = images[network.name][2]
        rows.append([View(paint(ours, f'What {network.name} predicts for'), network.name)])
        if network.baseline != network.name and network.baseline in images:
            changes = changed_pixels(truth, ours, images[network.baseline][2])
            said = f'{network.name} against {network.baseline}: {shares(changes)}'
            alt = f'Pixels of {name} that {network.name} changes.'
            rows[-1].append(View(painting(paint_changes(changes, image), alt), said))
    return rows
