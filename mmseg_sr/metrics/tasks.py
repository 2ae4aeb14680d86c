"""Count what networks say of images, and turn counts into metrics, for each task: segmentation and classification.

Shape legend: K classes, N images, ... images, seeds, draws: whatever the caller has.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion_of(truth: ArrayLike, predicted: ArrayLike, classes: int, ignore_index: int = 255) -> NDArray[np.int64]:
    """Count the pixels of an image by class, (K, K), [truth, prediction]; those of ``ignore_index`` are in no count.

    Raises:
        ValueError: For a label that is no class and not the ignored one.

    Example:
        >>> confusion_of([0, 0, 1, 255], [0, 1, 1, 1], classes=2)
        array([[1, 1],
               [0, 1]])
    """
    truth, predicted = np.ravel(truth), np.ravel(predicted)
    known = truth != ignore_index
    truth, predicted = truth[known].astype(np.int64), predicted[known].astype(np.int64)
    for name, labels in (('a label', truth), ('a prediction', predicted)):
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(f'{name} of {wrong}, and there are {classes} classes')
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def areas_of(confusion: ArrayLike) -> NDArray[np.int64]:
    """Reduce confusion matrices (..., K, K), [truth, prediction], to areas (..., 3, K) in pixels.

    Returns:
        Intersection, prediction and truth of each class: all that IoU and accuracy need.
    """
    confusion = np.asarray(confusion, np.int64)
    intersection = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack([intersection, confusion.sum(-2), confusion.sum(-1)], axis=-2)


def metrics_of(areas: ArrayLike) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Turn areas (..., 3, K), summed over images, into percent.

    Returns:
        mIoU (...), mAcc (...), aAcc (...) and IoU of each class (..., K). As in mmseg a class without pixels is NaN
        and not in the mean.

    Example:
        >>> confusion = [[[3, 1], [0, 4]], [[2, 0], [2, 0]]]  # two images, two classes
        >>> mean_iou, *_ = metrics_of(areas_of(confusion).sum(0))  # summed first, never averaged over images
        >>> f'{mean_iou:.2f}'
        '59.82'
    """
    intersection, predicted, truth = np.moveaxis(np.asarray(areas, float), -2, 0)
    with np.errstate(invalid='ignore'):
        iou = 100 * intersection / (predicted + truth - intersection)
        accuracy = 100 * intersection / truth
        overall = 100 * intersection.sum(-1) / truth.sum(-1)
    return nanmean(iou, -1), nanmean(accuracy, -1), overall, iou


def nanmean(values: NDArray, axis: int) -> NDArray:
    """Return the mean of what is not NaN, and NaN of nothing: np.nanmean without its warning."""
    known = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        return np.where(known, values, 0).sum(axis) / known.sum(axis)


def hits_of(label: ArrayLike, predicted: ArrayLike, top5: ArrayLike, classes: int) -> NDArray[np.int8]:
    """Turn what was said of N images, all (N,), into counts by class (N, 3, K): hits, hits among five, images.

    Example:
        >>> hits_of([1], [0], [True], classes=2).tolist()
        [[[0, 0], [0, 1], [0, 1]]]
    """
    label = np.asarray(label)
    counts = np.zeros((len(label), 3, classes), np.int8)  # ImageNet's would be 1.2 GB in eight bytes each
    said = [label == predicted, np.asarray(top5), np.ones(len(label))]
    counts[np.arange(len(label)), :, label] = np.stack(said, axis=-1)
    return counts


def accuracies_of(hits: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Turn counts (..., 3, K), summed over images, into percent: top-1 (...), top-5 (...), top-1 by class (..., K).

    Example:
        >>> hits = hits_of([0, 0, 1], [0, 1, 1], [True, True, True], classes=3)
        >>> [each.round(1).tolist() for each in accuracies_of(hits.sum(0))]
        [66.7, 100.0, [50.0, 100.0, nan]]
    """
    first, among, images = np.moveaxis(np.asarray(hits, float), -2, 0)
    with np.errstate(invalid='ignore'):
        means = [100 * each.sum(-1) / images.sum(-1) for each in (first, among)]
        return *means, 100 * first / images


class Task(NamedTuple):
    """A task: names of its means, what the metric of a class is called, ``<of_class>.<class>``, and what counts give.

    ``score`` turns counts (..., 3, K), summed over images, into the means (...) and the metric of each class (..., K).
    """

    metrics: tuple[str, ...]
    of_class: str
    score: Callable


SEGMENTATION = Task(('mIoU', 'mAcc', 'aAcc'), 'IoU', metrics_of)
CLASSIFICATION = Task(('top1', 'top5'), 'top1', accuracies_of)


def task_of(*metrics: str) -> Task:
    """Find the task that metrics, such as 'mIoU' or 'top1', belong to."""
    return SEGMENTATION if {*metrics}.isdisjoint(CLASSIFICATION.metrics) else CLASSIFICATION
