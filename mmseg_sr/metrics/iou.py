"""Count IoU with exact sums, unrounded and for each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from ..atomic import replacing
from ..errors import UserError
from .groups import image_names
from .tasks import confusion_of


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """Report intersection over union in percent: mean, unrounded, and of each class.

    The stock metric counts pixels in float32, which cannot tell 2**24 from 2**24 + 1 (eight Cityscapes frames have as
    many), rounds to two digits, and has each class's IoU in its log table only. Here they are counted in whole numbers
    and added up in float64 (exact to 2**53), and ``IoU.<class>`` is reported too: NaN for a class in neither prediction
    nor ground truth, which the mean leaves out. Log table and written predictions are the stock metric's. In a config::

        val_evaluator = dict(type='ClassIoUMetric')

    Args:
        collect_device: How several processes gather their counts. 'gpu' sends them, on CPUs too; the stock 'cpu'
            writes files into the working directory, which all processes must share.
        confusion_file: An ``.npz`` file for the confusion matrix of each image: ``confusion`` (images, classes,
            classes) of int32 pixels, [truth, prediction], ``images``, their paths below the folder they share, and
            ``classes``. Pixels of the ignored index are in none.
        **kwargs: The stock metric's arguments.

    Raises:
        UserError: For a label that is no class and not the ignored index, where confusion matrices are asked for.
    """

    def __init__(self, collect_device: str = 'gpu', confusion_file: str | Path | None = None, **kwargs):
        super().__init__(collect_device=collect_device, **kwargs)
        self.confusion_file = confusion_file and Path(confusion_file)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch, as the stock metric does."""
        super().process(data_batch, data_samples)
        if self.confusion_file is None or self.format_only:
            return
        for index, sample in enumerate(data_samples, start=len(self.results) - len(data_samples)):
            self.results[index] += (self._confusion(sample), sample['img_path'])

    @staticmethod
    def intersect_and_union(
        pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, ...]:
        """Count the pixels of each class: intersection, union, prediction and ground truth (K,), of int64.

        The stock histogram cannot run on a GPU where algorithms are to be deterministic; these counts can.
        """
        counted = label != ignore_index
        predicted, truth = pred_label[counted], label[counted]
        areas = (predicted[predicted == truth], predicted, truth)
        counts = (torch.bincount(each.long(), minlength=num_classes) for each in areas)  # a binary head's are floats
        both, predicted, truth = (each[:num_classes].cpu() for each in counts)
        return both, predicted + truth - both, predicted, truth

    def _confusion(self, sample: dict) -> np.ndarray:
        count = len(self.dataset_meta['classes'])
        truth, predicted = (sample[key]['data'].cpu().numpy() for key in ('gt_sem_seg', 'pred_sem_seg'))
        try:
            return confusion_of(truth, predicted, count, self.ignore_index).astype(np.int32)
        except ValueError as error:
            raise UserError(f'{sample["img_path"]} has {error}') from error

    def compute_metrics(self, results: list[tuple[Tensor, ...]]) -> dict[str, float]:
        """Sum the areas of all images: 'aAcc', 'mIoU', 'mAcc' (or the means of ``iou_metrics``) and 'IoU.<class>'.

        ``results`` has for each image its areas (K,): intersection, union, prediction, ground truth; and its confusion
        matrix and path where these are asked for.
        """
        if self.confusion_file is not None and not self.format_only:
            self._write_confusion([result[4:] for result in results])
        results = [tuple(area.double() for area in areas[:4]) for areas in results]
        stock = super().compute_metrics(results)  # logs the table
        if self.format_only:
            return stock
        totals = [sum(areas) for areas in zip(*results, strict=True)]
        ratios = self.total_area_to_metrics(*totals, self.metrics, self.nan_to_num, self.beta)
        means = {name if name == 'aAcc' else f'm{name}': np.nanmean(ratio) for name, ratio in ratios.items()}
        classes = zip(self.dataset_meta['classes'], ratios.get('IoU', ()), strict=False)
        return {name: float(100 * ratio) for name, ratio in (means | {f'IoU.{k}': iou for k, iou in classes}).items()}

    def _write_confusion(self, results: list[tuple[np.ndarray, str]]) -> None:
        matrices, paths = zip(*results, strict=True)
        with replacing(self.confusion_file) as partial:
            classes = list(self.dataset_meta['classes'])
            np.savez_compressed(partial, confusion=np.stack(matrices), images=image_names(paths), classes=classes)
