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
from contextlib import ExitStack

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement
from numpy.typing import NDArray
from torch import nn

from ..memory.interventions import REMOVED, STATIC, TRAINED, Weights, variants
from ..memory.probe import probe
from ..metrics.accuracy import said_of
from ..metrics.groups import group_names, image_names
from ..metrics.intervals import LEAST_SEEDS, Interval, mean_std, over_images, over_seeds
from ..metrics.tasks import CLASSIFICATION, SEGMENTATION, Task, areas_of, confusion_of, hits_of, task_of
from . import markdown

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
        model: A segmentor or a classifier with SR blocks, in evaluation mode.
        train: Training images through the test pipeline, for the mean weights.
        val: Validation images, with labels.
        classes: Names of the classes.
        progress: Wraps what is looped over, given with a word for it, such as a progress bar.

    Returns:
        'variants': for each mIoU, mAcc, aAcc and IoU by class in percent, or of a classifier top1, top5 and top1 by
        class; and the change of the first against *as trained* with its 95 % interval over images; 'static_weights' by
        block; 'verdict' in words.
    """
    recalled = [weights_of(model, sample) for sample in progress(train, 'weights, train')]
    static = {name: torch.stack([each[name] for each in recalled]).mean(0) for name in recalled[0]}
    own = [weights_of(model, sample) for sample in progress(val, 'weights, val')]
    counts: dict[str, list[NDArray]] = {}
    names = []
    for index, sample in enumerate(progress(val, 'ablate')):
        names.append(sample['data_samples'].get('img_path', 'image'))
        other = own[(index + max(len(own) // 2, 1)) % len(own)]
        for name, changes in variants(model, static, other).items():
            with ExitStack() as stack:
                for change in changes:
                    stack.enter_context(change)
                counts.setdefault(name, []).append(_counts(model, sample, len(classes)))
    task = CLASSIFICATION if 'gt_label' in sample['data_samples'] else SEGMENTATION
    groups = group_names(image_names(names)) if task is SEGMENTATION else names
    trained = np.stack(counts[TRAINED])
    rows = {name: _row(task, np.stack(each), trained, classes, groups) for name, each in counts.items()}
    return {
        'variants': rows,
        'static_weights': {name: weights.tolist() for name, weights in static.items()},
        'verdict': verdict(rows[REMOVED]['change'], rows[STATIC]['change'], seeds=1),
    }


def over_checkpoints(results: Sequence[dict]) -> dict:
    """Sum up what :func:`ablate` gave for networks that were trained alike from different seeds.

    Returns:
        'variants': for each the mean and standard deviation over checkpoints of mIoU, mAcc and aAcc, or top1 and top5,
        in percent, and the change of the first with its 95 % interval over them (Student's t); 'verdict' in words.

    Raises:
        ValueError: For networks with different variants.
    """
    names = list(results[0]['variants'])
    if any(list(result['variants']) != names for result in results):
        raise ValueError('the networks have different SR blocks')
    rows, metrics = {}, _metrics(results[0]['variants'])
    for name in names:
        scores = {metric: [result['variants'][name][metric] for result in results] for metric in metrics}
        rows[name] = {metric: dict(zip(('mean', 'std'), mean_std(scores[metric]), strict=True)) for metric in metrics}
        change = over_seeds(scores[metrics[0]], [result['variants'][TRAINED][metrics[0]] for result in results])
        rows[name]['change'] = _change(metrics[0], change)
    return {'variants': rows, 'verdict': verdict(rows[REMOVED]['change'], rows[STATIC]['change'], len(results))}


def table(rows: dict[str, dict], source: str) -> str:
    """Write the variants as a table in Markdown, with a word for what the intervals are over."""
    lines, metrics = [], _metrics(rows)
    for name, row in rows.items():
        scores = [row[metric] for metric in metrics]
        scores = [markdown.mean_std(**each) if isinstance(each, dict) else f'{each:.2f}' for each in scores]
        change = row['change']
        lines.append([name, *scores, f'{change[metrics[0]]:+.3f}', _interval(change) or '-'])
    return markdown.table(['SR blocks', *metrics, f'change of {metrics[0]}', f'95 % over {source}'], lines)


def _metrics(rows: dict[str, dict]) -> tuple[str, ...]:
    return task_of(next(iter(rows[TRAINED]))).metrics


def weights_of(model: nn.Module, sample: dict) -> Weights:
    """Return the softmax weights (P,) of each SR block for an image: the mean over its windows, or scales and flips."""
    with probe(model) as passes:
        _predict(model, sample)
    return {name: torch.cat(seen.weights).flatten(0, -2).mean(0) for name, seen in passes.items()}


def verdict(removed: dict, static: dict, seeds: int) -> str:
    """Say in a sentence what the SR blocks are worth to trained networks, and dynamic recall in them.

    Args:
        removed: Change without the blocks, by the name of the metric, and its interval, 'low' and 'high'.
        static: The same with static recall.
        seeds: Number of the networks. The intervals are over them; of one network over images, which shows nothing.

    Example:
        >>> removed, static = {'mIoU': -2.0, 'low': -2.4, 'high': -1.6}, {'mIoU': -0.1, 'low': -0.4, 'high': 0.2}
        >>> verdict(removed, static, seeds=5).partition('. ')[0]
        'These networks lose 2.00 mIoU without their SR blocks [-2.400, -1.600]'
    """
    metric = next(iter(removed))
    without, recall = (f'{change[metric]:+.2f} {_interval(change)}'.rstrip() for change in (removed, static))
    if seeds < LEAST_SEEDS:
        return (
            f'Without SR blocks {metric} changes by {without}, with static recall by {recall}. Checkpoints of {seeds} '
            f'seed{"s" * (seeds != 1)}: no verdict, which needs {LEAST_SEEDS} or more.'
        )
    if not _shown(removed):
        return f'That the SR blocks change the {metric} of these networks is not shown: without them {without}.'
    if removed[metric] > 0:
        return f'These networks are better without their SR blocks: {without} {metric}.'
    said = f'These networks lose {-removed[metric]:.2f} {metric} without their SR blocks {_interval(removed)}. '
    if _shown(static) and static[metric] < 0:
        share = 100 * static[metric] / removed[metric]
        return f'{said}Dynamic recall makes {share:.0f} % of it: with static recall they change by {recall}.'
    return f'{said}That dynamic recall makes any of it is not shown: with static recall they change by {recall}.'


def _interval(change: dict) -> str:
    return '' if change['low'] is None else f'[{change["low"]:+.3f}, {change["high"]:+.3f}]'


def _shown(change: dict) -> bool:
    return change['low'] is not None and not change['low'] <= 0 <= change['high']


@torch.no_grad()
def _predict(model: nn.Module, sample: dict) -> BaseDataElement:
    return model.test_step(pseudo_collate([copy.deepcopy(sample)]))[0]


def _counts(model: nn.Module, sample: dict, classes: int) -> NDArray[np.int64]:
    """Areas of an image (3, K), or hits of a classifier."""
    result = _predict(model, sample)
    if 'gt_label' in result:
        return hits_of(*([each] for each in said_of(int(result.gt_label), result.pred_score)), classes)[0]
    truth, predicted = (each.data.cpu().numpy() for each in (result.gt_sem_seg, result.pred_sem_seg))
    return areas_of(confusion_of(truth, predicted, classes))


def _row(task: Task, counts: NDArray, trained: NDArray, classes: Sequence[str], groups: Sequence[str]) -> dict:
    *scores, by_class = task.score(counts.sum(0))
    row: dict = dict(zip(task.metrics, map(float, scores), strict=True))
    known = {name: None if np.isnan(each) else float(each) for name, each in zip(classes, by_class, strict=True)}
    row['IoU' if task is SEGMENTATION else 'by class'] = known
    interval = over_images(counts[None], trained[None], groups, task.score)[0][0]
    return row | {'change': _change(task.metrics[0], interval)}


def _change(metric: str, interval: Interval) -> dict:
    return {metric: interval.difference, 'low': interval.low, 'high': interval.high}
