"""Count the accuracy of a classifier, for each class too, and keep what it said of each image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

from ..atomic import replacing
from ..errors import UserError
from ..names import distinct
from .groups import image_names
from .tasks import accuracies_of

TOP = 5


@METRICS.register_module()
class ClassAccuracy(BaseMetric):
    """Report accuracy in percent: ``top1``, ``top5``, and ``top1.<class>``, NaN for a class that no image has.

    It reads what mmpretrain's classifiers give out. In a config::

        val_evaluator = dict(type='ClassAccuracy')

    Args:
        by_class: Report each class too.
        collect_device: How several processes gather their counts, as for :class:`.ClassIoUMetric`.
        images_file: An ``.npz`` file for what was said of each image: ``images``, their paths below the folder they
            share, ``label`` and ``predicted``, classes by number, ``top5``, whether the label is among the five most
            likely, and ``classes``.

    Raises:
        UserError: For an image whose label is no class.
    """

    def __init__(self, by_class: bool = True, collect_device: str = 'gpu', images_file: str | Path | None = None):
        super().__init__(collect_device=collect_device)
        self.by_class = by_class
        self.images_file = images_file and Path(images_file)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep of each image its label, the class that is most likely, and whether the label is among five."""
        for sample in data_samples:
            label, scores = int(sample['gt_label']), sample['pred_score']
            if not 0 <= label < len(scores):
                raise UserError(
                    f'{sample.get("img_path")} has the label {label}, and the classifier {len(scores)} classes'
                )
            self.scored = len(scores)
            self.results.append((*said_of(label, scores), sample.get('img_path', 'image')))

    def compute_metrics(self, results: list[tuple[int, int, bool, str]]) -> dict[str, float]:
        """Count the hits of all images: 'top1', 'top5' and 'top1.<class>', in percent."""
        label, predicted, top5, paths = (list(each) for each in zip(*results, strict=True))
        classes = distinct(self.dataset_meta.get('classes') or [f'class {index}' for index in range(self.scored)])
        if self.images_file is not None:
            with replacing(self.images_file) as partial:
                said = dict(label=label, predicted=predicted, top5=top5, classes=classes)
                np.savez_compressed(partial, images=image_names(paths), **said)
        hits = [np.bincount(label, each, len(classes)) for each in (np.equal(label, predicted), top5, None)]
        *means, of_class = accuracies_of(hits)
        found = dict(zip(('top1', 'top5'), means, strict=True))
        found |= {f'top1.{name}': value for name, value in zip(classes, of_class, strict=True) if self.by_class}
        return {name: float(value) for name, value in found.items()}


def said_of(label: int, scores: Tensor) -> tuple[int, int, bool]:
    """Return the label of an image, the class with the highest score (K,), and whether the label is among five.

    Example:
        >>> import torch
        >>> said_of(2, torch.tensor([0.5, 0.1, 0.4]))
        (2, 0, True)
    """
    top = scores.topk(min(TOP, len(scores))).indices.tolist()
    return label, top[0], label in top
