"""An image of the data, what trained networks predict for it, and the pixels that change against a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from mmengine.config import Config

from ..datasets.build import read_picture
from .html import painting, photograph
from .pictures import changed_pixels, colour, paint_changes, shares


@dataclass(frozen=True)
class Network:
    """A trained network: its name, that of the one it is compared with (or its own), config and checkpoint."""

    name: str
    baseline: str
    cfg: Config
    checkpoint: str | Path


@dataclass
class View:
    """A picture of the page, and the sentence below it."""

    html: Markup
    caption: str


@dataclass
class Scene:
    """An image of the data, in rows: picture and ground truth; each network's prediction and what has changed."""

    name: str
    rows: list[list[View]]


@dataclass
class Predicted:
    """Images of one network: file, ground truth and prediction (height, width) of each; and what void is there."""

    images: list[tuple[str, np.ndarray, np.ndarray]]
    ignore_index: int
    classes: list[str]
    palette: list


def scene_of(networks: Sequence[Network], predicted: dict[str, Predicted], index: int) -> Scene:
    """Put beside each other what networks predict for one image, and paint what has changed against their baselines.

    Args:
        networks: Those that predicted it.
        predicted: What they predicted, by their names; a baseline is looked for in it.
        index: Of the image.
    """
    first = predicted[networks[0].name]
    path, truth, _ = first.images[index]
    stem, void = Path(path).stem, truth == first.ignore_index
    image = read_picture(path, truth.shape)

    def paint(labels: np.ndarray, alt: str) -> Markup:
        return painting(colour(np.where(void, 255, labels), first.palette), alt)

    labels = paint(truth, f'Ground truth of {stem}, coloured by class.')
    rows = [[View(photograph(image, f'Picture {stem}.'), 'picture'), View(labels, 'ground truth')]]
    for network in networks:
        ours = predicted[network.name].images[index][2]
        alt = f'What {network.name} predicts for {stem}, coloured by class.'
        row = [View(paint(ours, alt), network.name)]
        if network.baseline != network.name and network.baseline in predicted:
            theirs = predicted[network.baseline].images[index][2]
            changes = changed_pixels(truth, ours, theirs, first.ignore_index)
            row.append(_changed(network, changes, image, stem))
        rows.append(row)
    return Scene(stem, rows)


def _changed(network: Network, changes: np.ndarray, image: np.ndarray, stem: str) -> View:
    found, pair = shares(changes), f'{network.name} against {network.baseline}'
    said = 'no pixel is labelled'
    if found:
        said = f'{found[0]:.2f} % of the labelled pixels better (blue), {found[1]:.2f} % worse (orange)'
    return View(
        painting(paint_changes(changes, image), f'Changed pixels of {stem}, {pair}: {said}.'), f'{pair}: {said}'
    )
