"""Turn labels into confusion matrices, these into areas, and areas into metrics.

Shape legend: K classes, ... images, seeds, draws: whatever the caller has.
"""

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
