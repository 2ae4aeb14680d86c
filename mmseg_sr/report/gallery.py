"""Predict images with trained networks for a page, and draw what their memories do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray
from torch import nn

from ..datasets.build import check_pictures, load_split, read_picture, spread
from ..errors import UserError
from ..memory.observe import has_pixels, predict
from ..memory.summary import summarise
from ..models.find import sr_blocks
from ..runs.models import class_names, load_model
from .html import inline_svg, painting, photograph
from .pictures import changed_pixels, colour, paint_changes, shares
from .seeing import block_figures, choose_classes, given, in_words, picture_of, read, see

PICTURES, CARDS = 3, 24  # images that are predicted: by segmentors, by classifiers


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


class Card(NamedTuple):
    """An image that is classified: an element, its class; of each network the name, what it says, if that is right."""

    html: Markup
    label: str
    said: list[tuple[str, str, bool]]


class Predicted(NamedTuple):
    """A file, ground truth (255 where there is none) and prediction (height, width); what a classifier was given."""

    path: str
    truth: NDArray
    prediction: NDArray
    given: NDArray[np.uint8] | None = None


@dataclass
class Gallery:
    """The pictures of a page."""

    scenes: list = field(default_factory=list)  # name of an image, and rows of views: of the image, of each network
    cards: list[Card] = field(default_factory=list)  # the same of classifiers
    memories: dict = field(default_factory=dict)  # of each network its SR blocks: see _memories
    legend: list = field(default_factory=list)  # classes and their colours
    gaps: list[str] = field(default_factory=list)  # sentences on what is missing


def look(networks: Sequence[Network], pictures: int | None = None, images: int = 20) -> Gallery:
    """Predict images of val with each network, and draw the memory of those with SR blocks.

    A baseline stands before the networks that are compared with it. Numbers of ``pictures`` to show, and of ``images``
    for the memory, of a classifier of each class, are chosen evenly. A missing checkpoint or data set leaves a
    sentence, and no exception.
    """
    gallery, predicted = Gallery(), {}
    for network in networks:
        try:
            model = load_model(network.cfg, network.checkpoint, whole=True)
            dataset = load_split(network.cfg, 'val')
            check_pictures(dataset)
            classes, palette = class_names(model, dataset)
            count = pictures
            if count is None:
                count = PICTURES if has_pixels(read(dataset, 0)) else CARDS
            if count:
                predicted[network.name] = _predict(model, dataset, count)
                gallery.legend = gallery.legend or list(zip(classes, palette, strict=True))
            if images and sr_blocks(model):
                key, drawn = f'memory{len(gallery.memories)}', min(count or 1, PICTURES)
                gallery.memories[network.name] = _memories(key, network.name, model, dataset, images, drawn)
        except UserError as error:
            gallery.gaps.append(f'{network.name}: {error}.')
    _show(gallery, networks, predicted)
    return gallery


def _predict(model: nn.Module, dataset: BaseDataset, count: int) -> list[Predicted]:
    found = []
    for index in spread(len(dataset), count):
        sample = read(dataset, index)
        _, prediction, truth = predict(model, sample)
        if truth is None:
            raise UserError('the data have no labels')
        truth, path = truth.cpu().numpy(), sample['data_samples'].img_path
        if has_pixels(sample):
            truth = np.where(truth == getattr(dataset, 'ignore_index', 255), 255, truth)
        found.append(Predicted(path, truth, prediction.cpu().numpy(), None if has_pixels(sample) else given(sample)))
    return found


def _memories(key: str, title: str, model: nn.Module, dataset: BaseDataset, images: int, pictures: int) -> list[tuple]:
    """Name, Summary.document(), words of :func:`in_words` and views of each SR block; ``key`` begins ids."""
    classes, palette = class_names(model, dataset)
    shown, (chosen, seen) = choose_classes(classes), see(model, dataset, images, title=title)
    places = spread(len(seen), pictures)
    drawn = [(picture_of(read(dataset, chosen[place]), seen[place], classes), seen[place]) for place in places]
    found = []
    for name, block in sr_blocks(model).items():
        summary = summarise(seen, name, block, classes)
        figures, words = block_figures(name, summary, drawn, palette, shown, columns=2), in_words(summary, shown)
        figures.pop('scores', None)  # a table of the page
        views = [View(_chart(figure, f'{key}-{name}-{kind}'), words[kind]) for kind, figure in figures.items()]
        numbers = summary.document()
        if numbers['score_change']:
            numbers['score_change'] = {classes[index]: numbers['score_change'][classes[index]] for index in shown}
        found.append((name, numbers, words, views))
    return found


def _chart(figure: Figure, name: str) -> Markup:
    """Turn a figure into an element without its title and notes: the page says it below."""
    title = figure.get_suptitle()
    figure.suptitle('')
    figure.supxlabel('')
    figure.set_figheight(figure.get_figheight() - 0.5)
    for legend in figure.legends:
        legend.set_title(None)
    return inline_svg(figure, name, title)


def _show(gallery: Gallery, networks: Sequence[Network], predicted: Mapping[str, list[Predicted]]) -> None:
    """Put side by side what is predicted by the networks whose images are those of the first one."""
    paths = {name: [each.path for each in images] for name, images in predicted.items()}
    first = next(iter(paths.values()), [])
    gallery.gaps += [f'{name}: its data are other images.' for name, each in paths.items() if each != first]
    order = [network.name for network in networks]
    shown = [network for network in networks if paths.get(network.name) == first]
    shown.sort(key=lambda network: order.index(network.baseline))  # each after its baseline
    classes, palette = zip(*gallery.legend, strict=True) if gallery.legend else ((), ())
    for index, path in enumerate(first):
        images = {network.name: predicted[network.name][index] for network in shown}
        if images[shown[0].name].given is None:
            gallery.scenes.append((Path(path).stem, _rows(shown, images, palette)))
        else:
            gallery.cards.append(_card(images, classes))


def _card(images: Mapping[str, Predicted], classes: Sequence[str]) -> Card:
    image = next(iter(images.values()))
    label = classes[image.truth.item()]
    said = [
        (name, classes[each.prediction.item()], bool(each.prediction == each.truth)) for name, each in images.items()
    ]
    return Card(photograph(image.given, f'A picture of the class {label}.'), label, said)


def _rows(networks: Sequence[Network], images: Mapping[str, Predicted], palette: Sequence) -> list[list[View]]:
    path, truth, *_ = images[networks[0].name]
    name, image = Path(path).stem, read_picture(path, truth.shape)

    def paint(labels: np.ndarray, alt: str) -> Markup:
        return painting(colour(np.where(truth == 255, 255, labels), palette), f'{alt} {name}, coloured by class.')

    rows = [[View(photograph(image, f'Picture {name}.'), 'picture')]]
    rows[0].append(View(paint(truth, 'Ground truth of'), 'ground truth'))
    for network in networks:
        ours = images[network.name].prediction
        rows.append([View(paint(ours, f'What {network.name} predicts for'), network.name)])
        if network.baseline != network.name and network.baseline in images:
            changes = changed_pixels(truth, ours, images[network.baseline].prediction)
            said = f'{network.name} against {network.baseline}: {shares(changes)}'
            alt = f'Pixels of {name} that {network.name} changes.'
            rows[-1].append(View(painting(paint_changes(changes, image), alt), said))
    return rows
