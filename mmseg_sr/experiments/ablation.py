"""Is it memory, or only parameters? One trained network, evaluated with its SR blocks as they are and changed.

====================  ==================================================================================
as trained            nothing changed
removed               the memory is zero: the block is the identity
static recall         every image gets the mean softmax weights of the training images
shuffled              every image gets the weights of another image: the one half the data set away
without memory ``p``  one memory block is zero, the other weights stay
only memory ``p``     all memory blocks but one are zero
====================  ==================================================================================

What *static recall* loses against *as trained* is the part of dynamic recall; *removed* is what all of it is worth to
this network. It does not say what a network trained without the block reaches: that takes a training.

Shape letters: N images, K classes, P memory blocks.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack

import numpy as np
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from numpy.typing import NDArray
from torch import Tensor, nn

from ..memory.interventions import recalling, without
from ..memory.probe import probe
from ..metrics.confusion import areas_of, confusion_of, metrics_of
from ..metrics.intervals import mean_std, over_images, over_seeds
from ..models.find import sr_blocks

TRAINED, REMOVED, STATIC, SHUFFLED = 'as trained', 'removed', 'static recall', 'shuffled'
SMALLEST = 0.01  # mIoU, in percent, below which a share of it says nothing
Weights = dict[str, Tensor]  # (P,) by the block's name
Progress = Callable[[Sequence, str], Iterator]


class Some(Sequence):
    """Some images of a dataset, by their indices."""

    def __init__(self, dataset: BaseDataset, indices: Sequence[int]):
        self.dataset, self.indices, self.metainfo = dataset, indices, dataset.metainfo

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.indices[index]]


def in_silence(items: Sequence, task: str) -> Iterator:
    """Go over items and show nothing."""
    return iter(items)


def ablate(
    model: nn.Module, train: Sequence[dict], val: BaseDataset, ignore_index: int = 255, progress: Progress = in_silence
) -> dict:
    """Evaluate a model with its SR blocks as trained and changed.

    Args:
        model: A segmentor with SR blocks, in evaluation mode.
        train: Training images through the test pipeline, for the mean weights.
        val: Validation images, with labels.
        ignore_index: Label that is not evaluated.
        progress: Wraps what is looped over, given with a word for it, such as a progress bar.

    Returns:
        'variants': for each mIoU, mAcc, aAcc and IoU by class in percent, and the change of mIoU against *as trained*
        with its 95 % interval over images; 'static_weights' by block; 'verdict' in words.
    """
    static = _mean(weights_of(model, sample) for sample in progress(train, 'weights, train'))
    own = [weights_of(model, sample) for sample in progress(val, 'weights, val')]
    names = variants(model)
    classes = val.metainfo['classes']
    areas = {name: np.zeros((len(val), 3, len(classes)), np.int64) for name in names}
    for index, sample in enumerate(progress(val, 'ablate')):
        other = own[(index + max(len(own) // 2, 1)) % len(own)]
        for name in names:
            with changed(model, name, static, other):
                areas[name][index] = _areas(model, sample, len(classes), ignore_index)
    rows = {name: _row(areas[name], areas[TRAINED], classes) for name in names}
    return {
        'variants': rows,
        'static_weights': {name: weights.tolist() for name, weights in static.items()},
        'verdict': verdict(*(rows[name]['mIoU'] for name in (TRAINED, REMOVED, STATIC))),
    }


def over_checkpoints(results: Sequence[dict]) -> dict:
    """Sum up the ablations of networks that were trained alike from different seeds.

    Args:
        results: What :func:`ablate` gave for each, with the same variants.

    Returns:
        'variants': for each the mean and standard deviation of mIoU, mAcc and aAcc over checkpoints, in percent, and
        the change of mIoU with its 95 % interval over them (Student's t); 'verdict' in words, of the means.

    Raises:
        ValueError: For networks with different variants.
    """
    names = list(results[0]['variants'])
    if any(list(result['variants']) != names for result in results):
        raise ValueError('the networks have different SR blocks')
    rows = {}
    for name in names:
        each = [result['variants'][name] for result in results]
        rows[name] = {
            metric: dict(zip(('mean', 'std'), mean_std([row[metric] for row in each]), strict=True))
            for metric in ('mIoU', 'mAcc', 'aAcc')
        }
        trained = [result['variants'][TRAINED]['mIoU'] for result in results]
        change = over_seeds([row['mIoU'] for row in each], trained)
        rows[name]['change'] = {'mIoU': change.difference, 'low': change.low, 'high': change.high}
    means = (rows[name]['mIoU']['mean'] for name in (TRAINED, REMOVED, STATIC))
    return {'variants': rows, 'verdict': verdict(*means)}


def variants(model: nn.Module) -> list[str]:
    """Names of what :func:`changed` can do to a model, *as trained* first. Several SR blocks are told apart."""
    names = [TRAINED, REMOVED, STATIC, SHUFFLED]
    for name, block in sr_blocks(model).items():
        for word in ('without', 'only') if block.num_memories > 1 else ():
            names += [f'{word} memory {index} of {name}' for index in range(block.num_memories)]
    return names


def changed(model: nn.Module, variant: str, static: Weights, other: Weights) -> AbstractContextManager:
    """Change the SR blocks of a model inside a ``with`` block.

    Args:
        model: Its blocks are what they were afterwards.
        variant: One of :func:`variants`.
        static: Weights of each block for *static recall*.
        other: Weights of each block for *shuffled*.
    """
    stack = ExitStack()
    blocks = sr_blocks(model)
    if variant == REMOVED:
        for block in blocks.values():
            stack.enter_context(without(block))
    elif variant in (STATIC, SHUFFLED):
        for name, block in blocks.items():
            stack.enter_context(recalling(block, (static if variant == STATIC else other)[name]))
    elif variant != TRAINED:
        word, _, index, _, name = variant.split(' ', 4)
        out = [int(index)] if word == 'without' else set(range(blocks[name].num_memories)) - {int(index)}
        for each in out:
            stack.enter_context(without(blocks[name], each))
    return stack


@torch.no_grad()
def weights_of(model: nn.Module, sample: dict) -> Weights:
    """The softmax weights (P,) of each SR block for an image; the mean over its windows, or scales and flips."""
    with probe(model) as passes:
        model.test_step(pseudo_collate([copy.deepcopy(sample)]))
    return {name: torch.cat(seen.weights).mean(0) for name, seen in passes.items()}


def verdict(trained: float, removed: float, static: float) -> str:
    """Say in a sentence what share of the gain comes from dynamic recall. Values are mIoU in percent.

    Example:
        >>> verdict(trained=40.0, removed=38.0, static=39.5)
        'The SR blocks are worth +2.00 mIoU to this network, of which dynamic recall makes +0.50 (25 %).'
        >>> verdict(trained=40.0, removed=40.001, static=40.0)
        'Without its SR blocks this network has the same mIoU (-0.001): there is no gain to share.'
    """
    gain, dynamic = trained - removed, trained - static
    if abs(gain) < SMALLEST:
        return f'Without its SR blocks this network has the same mIoU ({gain:+.3f}): there is no gain to share.'
    if gain < 0:
        return f'This network is better without its SR blocks: they cost it {-gain:.2f} mIoU.'
    return (
        f'The SR blocks are worth {gain:+.2f} mIoU to this network, of which dynamic recall makes {dynamic:+.2f} '
        f'({100 * dynamic / gain:.0f} %).'
    )


def _mean(each: Iterator[Weights]) -> Weights:
    all_weights = list(each)
    return {name: torch.stack([weights[name] for weights in all_weights]).mean(0) for name in all_weights[0]}


@torch.no_grad()
def _areas(model: nn.Module, sample: dict, classes: int, ignore_index: int) -> NDArray[np.int64]:
    (result,) = model.test_step(pseudo_collate([copy.deepcopy(sample)]))
    truth, predicted = (each.data.cpu().numpy() for each in (result.gt_sem_seg, result.pred_sem_seg))
    return areas_of(confusion_of(truth, predicted, classes, ignore_index))


def _row(areas: NDArray, trained: NDArray, classes: Sequence[str]) -> dict:
    mean_iou, mean_accuracy, accuracy, iou = metrics_of(areas.sum(0))
    interval = over_images(areas[None], trained[None])[0]
    return {
        'mIoU': float(mean_iou),
        'mAcc': float(mean_accuracy),
        'aAcc': float(accuracy),
        'IoU': {name: None if np.isnan(value) else float(value) for name, value in zip(classes, iou, strict=True)},
        'change': {'mIoU': interval.difference, 'low': interval.low, 'high': interval.high},
    }
