"""Ablate the SR blocks of a trained network: evaluate it with them as they are and changed.

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
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import Tensor, nn

from ..memory.interventions import recalling, without
from ..memory.probe import probe
from ..metrics.confusion import areas_of, confusion_of, metrics_of
from ..metrics.intervals import Interval, mean_std, over_images, over_seeds
from ..models.find import sr_blocks
from . import markdown
from .numbers import METRICS

TRAINED, REMOVED, STATIC, SHUFFLED = 'as trained', 'removed', 'static recall', 'shuffled'
Weights = dict[str, Tensor]  # (P,) by the block's name
Progress = Callable[[Sequence, str], Iterator]


def ablate(
    model: nn.Module,
    train: Sequence[dict],
    val: Sequence[dict],
    classes: Sequence[str],
    progress: Progress = lambda items, task: items,
) -> dict:
    """Evaluate a model with its SR blocks as trained and changed.

    Args:
        model: A segmentor with SR blocks, in evaluation mode.
        train: Training images through the test pipeline, for the mean weights.
        val: Validation images, with labels.
        classes: Names of the classes.
        progress: Wraps what is looped over, given with a word for it, such as a progress bar.

    Returns:
        'variants': for each mIoU, mAcc, aAcc and IoU by class in percent, and the change of mIoU against *as trained*
        with its 95 % interval over images; 'static_weights' by block; 'verdict' in words.
    """
    recalled = [weights_of(model, sample) for sample in progress(train, 'weights, train')]
    static = {name: torch.stack([each[name] for each in recalled]).mean(0) for name in recalled[0]}
    own = [weights_of(model, sample) for sample in progress(val, 'weights, val')]
    areas: dict[str, list[NDArray]] = {}
    for index, sample in enumerate(progress(val, 'ablate')):
        other = own[(index + max(len(own) // 2, 1)) % len(own)]
        for name, changes in variants(model, static, other).items():
            with ExitStack() as stack:
                for change in changes:
                    stack.enter_context(change)
                areas.setdefault(name, []).append(_areas(model, sample, len(classes)))
    rows = {name: _row(np.stack(each), np.stack(areas[TRAINED]), classes) for name, each in areas.items()}
    return {
        'variants': rows,
        'static_weights': {name: weights.tolist() for name, weights in static.items()},
        'verdict': verdict(*(rows[name]['mIoU'] for name in (TRAINED, REMOVED, STATIC))),
    }


def over_checkpoints(results: Sequence[dict]) -> dict:
    """Sum up what :func:`ablate` gave for networks that were trained alike from different seeds.

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
        scores = {metric: [result['variants'][name][metric] for result in results] for metric in METRICS}
        rows[name] = {metric: dict(zip(('mean', 'std'), mean_std(scores[metric]), strict=True)) for metric in METRICS}
        change = over_seeds(scores['mIoU'], [result['variants'][TRAINED]['mIoU'] for result in results])
        rows[name]['change'] = _change(change)
    means = (rows[name]['mIoU']['mean'] for name in (TRAINED, REMOVED, STATIC))
    return {'variants': rows, 'verdict': verdict(*means)}


def table(rows: dict[str, dict], source: str) -> str:
    """Write the variants as a table in Markdown, with a word for what the intervals are over."""
    lines = []
    for name, row in rows.items():
        scores = [row[metric] for metric in METRICS]
        scores = [markdown.mean_std(**each) if isinstance(each, dict) else f'{each:.2f}' for each in scores]
        change = row['change']
        interval = '-' if change['low'] is None else f'[{change["low"]:+.3f}, {change["high"]:+.3f}]'
        lines.append([name, *scores, f'{change["mIoU"]:+.3f}', interval])
    return markdown.table(['SR blocks', *METRICS, 'change of mIoU', f'95 % over {source}'], lines)


def variants(model: nn.Module, static: Weights, other: Weights) -> dict[str, list[AbstractContextManager]]:
    """Give what changes the SR blocks of a model inside a ``with`` block, by the variant's name, *as trained* first.

    ``static`` has the weights of each block for *static recall*, ``other`` those for *shuffled*.
    """
    blocks = sr_blocks(model)
    found = {TRAINED: [], REMOVED: [without(block) for block in blocks.values()]}
    found[STATIC] = [recalling(block, static[name]) for name, block in blocks.items()]
    found[SHUFFLED] = [recalling(block, other[name]) for name, block in blocks.items()]
    for name, block in blocks.items():
        memories = range(block.num_memories) if block.num_memories > 1 else ()
        found |= {f'without memory {p} of {name}': [without(block, p)] for p in memories}
        found |= {f'only memory {p} of {name}': [without(block, q) for q in memories if q != p] for p in memories}
    return found


def weights_of(model: nn.Module, sample: dict) -> Weights:
    """Return the softmax weights (P,) of each SR block for an image: the mean over its windows, or scales and flips."""
    with probe(model) as passes:
        _predict(model, sample)
    return {name: torch.cat(seen.weights).mean(0) for name, seen in passes.items()}


def verdict(trained: float, removed: float, static: float) -> str:
    """Say in a sentence what share of the gain comes from dynamic recall. Values are mIoU in percent.

    Example:
        >>> verdict(trained=40.0, removed=38.0, static=39.5)
        'The SR blocks are worth +2.00 mIoU to this network, of which dynamic recall makes +0.50 (25 %).'
    """
    gain, dynamic = trained - removed, trained - static
    if abs(gain) < 0.01:  # a share of it would say nothing
        return f'Without its SR blocks this network has the same mIoU ({gain:+.3f}): there is no gain to share.'
    if gain < 0:
        return f'This network is better without its SR blocks: they cost it {-gain:.2f} mIoU.'
    return (
        f'The SR blocks are worth {gain:+.2f} mIoU to this network, of which dynamic recall makes {dynamic:+.2f} '
        f'({100 * dynamic / gain:.0f} %).'
    )


@torch.no_grad()
def _predict(model: nn.Module, sample: dict) -> SegDataSample:
    return model.test_step(pseudo_collate([copy.deepcopy(sample)]))[0]


def _areas(model: nn.Module, sample: dict, classes: int) -> NDArray[np.int64]:
    result = _predict(model, sample)
    truth, predicted = (each.data.cpu().numpy() for each in (result.gt_sem_seg, result.pred_sem_seg))
    return areas_of(confusion_of(truth, predicted, classes))


def _row(areas: NDArray, trained: NDArray, classes: Sequence[str]) -> dict:
    *scores, iou = metrics_of(areas.sum(0))
    row: dict = dict(zip(METRICS, map(float, scores), strict=True))
    row['IoU'] = {name: None if np.isnan(value) else float(value) for name, value in zip(classes, iou, strict=True)}
    return row | {'change': _change(over_images(areas[None], trained[None])[0])}


def _change(interval: Interval) -> dict:
    return {'mIoU': interval.difference, 'low': interval.low, 'high': interval.high}
