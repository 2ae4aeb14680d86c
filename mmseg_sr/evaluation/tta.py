"""BatchedTTAModel: multi-scale + flip in fewer passes."""

from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.utils import SampleList


@MODELS.register_module()
class BatchedTTAModel(SegTTAModel):
    """mmseg's SegTTAModel, where views of one size go through the network in one pass: an image and its mirror image.

    In a config: ``tta_model = dict(type='BatchedTTAModel')``. Predictions are the same but for rounding; a pass holds
    the maps of twice as many images. ``benchmarks/tta.py`` measures whether it is faster.
    """

    def test_step(self, data: dict) -> SampleList:
        """Predict all views of a batch and merge them, image by image.

        Args:
            data: ``inputs`` and ``data_samples``, a list of views each, of lists of images.
        """
        views = list(zip(data['inputs'], data['data_samples'], strict=True))
        groups: dict[tuple, list[int]] = {}
        for index, (images, _) in enumerate(views):
            groups.setdefault(tuple(image.shape for image in images), []).append(index)
        predictions: list[SampleList] = [[]] * len(views)
        for indices in groups.values():
            batch = [pair for index in indices for pair in zip(*views[index], strict=True)]
            inputs, samples = map(list, zip(*batch, strict=True))
            done = self.module.test_step(dict(inputs=inputs, data_samples=samples))
            for place, index in enumerate(indices):
                count = len(views[index][0])
                predictions[index] = done[place * count : (place + 1) * count]
        return self.merge_preds(list(zip(*predictions, strict=True)))
