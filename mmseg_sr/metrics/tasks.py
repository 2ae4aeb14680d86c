"""Say by which metrics networks of a task are compared, and how they are worked out of counts."""

from collections.abc import Callable
from typing import NamedTuple

from .accuracy import accuracies_of
from .confusion import metrics_of


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
