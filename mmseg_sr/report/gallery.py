"""What trained networks make of some pictures, and what their memory does: the parts of a page that need checkpoints.

Whatever is not there, checkpoint or data, leaves a sentence and no exception.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.device import get_device
from mmseg.apis import init_model
from torch import nn
from tqdm import tqdm

from ..checkpoints.reading import read_checkpoint
from ..checkpoints.weights import check_weights
from ..config import prepare
from ..datasets.build import load_split, spread
from ..errors import UserError, blame
from ..memory.observe import observe
from ..memory.summary import summarise
from ..models.find import sr_blocks
from ..runs.models import class_names
from .html import drawing
from .memory_figures import block_figures, in_words
from .scenes import Network, Predicted, Scene, View, scene_of


@dataclass
class Memory:
    """What an SR block of a network does: figures, and numbers by their names."""

    network: str
    block: str
    figures: list[View]
    numbers: dict[str, str]


@dataclass
class Gallery:
    """What could be looked at, and sentences on what could not, of pictures and of memories."""

    scenes: list[Scene] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)  # classes and their colours, #rrggbb
    gaps: list[str] = field(default_factory=list)


def look(networks: Sequence[Network], pictures: int = 3, images: int = 20) -> Gallery:
    """Predict some images of val with each network, and look at the memory of those that have one.

    Args:
        networks: A baseline stands before the networks that are compared with it.
        pictures: Number of images to show, evenly chosen.
        images: Number of images for the figures of the memory, evenly chosen.
    """
    gallery, predicted = Gallery(), {}
    for network in tqdm(networks, desc='look', unit='network'):
        try:
            model = _load(network)
            dataset = load_split(network.cfg, 'val')
            if pictures:
                predicted[network.name] = _predict(model, dataset, network, pictures)
            if images and sr_blocks(model):
                gallery.memories += _memories(model, dataset, network, pictures or 1, images)
        except UserError as error:
            gallery.gaps.append(f'{network.name}: {error}.')
    if predicted:
        _show(gallery, networks, predicted)
    return gallery


def _load(network: Network) -> nn.Module:
    weights = read_checkpoint(network.checkpoint)
    with blame('build the model'):
        model = init_model(prepare(network.cfg), device=get_device())
    if check_weights(model, weights, network.checkpoint):
        raise UserError(f'{network.checkpoint} has no weights of its SR blocks')
    model.dataset_meta = weights.get('meta', {}).get('dataset_meta')
    return model


def _read(dataset: BaseDataset, index: int) -> dict:
    with blame(f'read image {index} of val'):
        return dataset[index]


@torch.no_grad()
def _predict(model: nn.Module, dataset: BaseDataset, network: Network, count: int) -> Predicted:
    found = []
    for index in spread(len(dataset), count):
        (result,) = model.test_step(pseudo_collate([_read(dataset, index)]))
        if 'gt_sem_seg' not in result:
            raise UserError('the data have no labels')
        maps = [each.data[0].cpu().numpy() for each in (result.gt_sem_seg, result.pred_sem_seg)]
        found.append((result.img_path, *maps))
    classes, palette = class_names(model, dataset)
    return Predicted(found, getattr(dataset, 'ignore_index', 255), classes, palette)


def _memories(model: nn.Module, dataset: BaseDataset, network: Network, pictures: int, images: int) -> list[Memory]:
    seen = [observe(model, _read(dataset, index)) for index in spread(len(dataset), images)]
    drawn = [seen[index] for index in spread(len(seen), pictures)]
    classes, palette = class_names(model, dataset)
    found = []
    for name, block in sr_blocks(model).items():
        summary = summarise(seen, name, block, classes)
        words = in_words(summary)
        figures = block_figures(name, summary, drawn, palette)
        views = [View(drawing(figures[kind], words[kind]), words[kind]) for kind in words if kind in figures]
        found.append(Memory(network.name, name, views, _numbers(summary.document())))
    return found


def _numbers(document: dict) -> dict[str, str]:
    """The chief numbers of a memory, in words."""
    usage, shift = document['usage'], document['shift']['mean']  # null where the map is zero
    return {
        'images looked at': f'{document["images"]}',
        'memory blocks': f'{document["num_memories"]}',
        'what is added, of the norm of the map': '–' if shift is None else f'{100 * shift:.2g} %',
        'memory blocks in use, by their mean weights': f'{usage["in_use"]:.2f}',
        'memory blocks in use in an image': f'{usage["per_image"]:.2f}',
        'different weight vectors among the images': f'{usage["distinct"]:.2f}',
    }


def _show(gallery: Gallery, networks: Sequence[Network], predicted: dict[str, Predicted]) -> None:
    """Put beside each other what the networks predict, of those that saw the same images as the first one."""
    first = next(iter(predicted.values()))
    paths = [path for path, *_ in first.images]
    for name in list(predicted):
        if [path for path, *_ in predicted[name].images] != paths:
            gallery.gaps.append(f'{name}: its data are other images.')
            del predicted[name]
    colours = ['#{:02x}{:02x}{:02x}'.format(*each) for each in first.palette]
    gallery.legend = list(zip(first.classes, colours, strict=True))
    shown = [network for network in networks if network.name in predicted]
    gallery.scenes = [scene_of(shown, predicted, index) for index in range(len(paths))]
