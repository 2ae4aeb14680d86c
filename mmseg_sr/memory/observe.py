"""Measure what the memory does to one image: probe a network's SR blocks, and take out memory blocks in turn.

Shape letters: K classes, P memory blocks, (h, w) size of a block's input map, (height, width) size of an image. To a
classifier an image is one pixel: height and width are 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.find import sr_blocks
from .interventions import without
from .probe import Passes, probe
from .stats import class_shares
from .windows import stitch


@dataclass
class SeenBlock:
    """What one SR block does to an image; the last three are None where no memory block was taken out."""

    weights: NDArray  # softmax weights (P,); in ``slide`` mode their mean over the windows
    before: NDArray  # channel mean of the block's input (h, w); the windows of ``slide`` mode are put together
    after: NDArray  # that of its output
    shift: float  # norm of what is added relative to the norm of the input, the mean over the windows
    score_change: NDArray | None = None  # mean change of each class's logit without a memory block (P, K)
    flips: NDArray | None = None  # share of the pixels predicted as another class without a memory block (P,)
    # mean over classes of the absolute change, in cells of the map (P, h, w); None of a classifier, too
    place_change: NDArray | None = None


@dataclass
class Seen:
    """What was measured of one image."""

    path: str
    of: str  # what has a class: 'pixel', of a segmentor's image, or 'image'
    prediction: NDArray  # class of each pixel (height, width); (1, 1) of a classifier
    logit_size: float  # mean absolute value of the logits, to compare their changes with
    shares: NDArray | None  # of each class in the labelled pixels (K,), if there are labels; of a classifier 1 and 0
    windows: int  # passes it took: one in ``whole`` mode
    blocks: dict[str, SeenBlock]  # by name

    def shows(self, classes: Sequence[int]) -> bool:
        """Tell whether the image shows one of some classes."""
        return self.shares is not None and bool(self.shares[classes].any())

    def said(self, classes: Sequence[str]) -> dict[str, str | None]:
        """Name the 'class' of a classifier's image, None where it has no label, and the one 'predicted'."""
        label = classes[self.shares.argmax()] if self.shares is not None and self.shares.any() else None
        return {'class': label, 'predicted': classes[self.prediction.item()]}


def observe(model: nn.Module, sample: dict, ablate: bool = True) -> Seen:
    """Predict one image with a segmentor or a classifier in evaluation mode and measure what its SR blocks do.

    A change of the logits is a difference of float32 numbers: below a millionth of the logits it is rounding.

    Args:
        model: The network, of mmseg or mmpretrain.
        sample: ``inputs`` and ``data_samples`` of the image, as a test pipeline gives them.
        ablate: Whether to take each memory block out in turn: as many more passes as there are memory blocks.

    Raises:
        ValueError: For a model without an SR block.
    """
    with probe(model) as passes:
        logits, prediction, labels = predict(model, sample)
    seen = Seen(
        path=str(sample['data_samples'].metainfo.get('img_path', '')),
        of='pixel' if has_pixels(sample) else 'image',
        prediction=prediction.cpu().numpy(),
        logit_size=float(logits.abs().mean()),
        shares=None if labels is None else class_shares(labels.cpu().numpy(), len(logits)),
        windows=max(len(each.weights) for each in passes.values()),
        blocks={name: _see(model, sample, each) for name, each in passes.items()},
    )
    if ablate:
        for name, block in sr_blocks(model).items():
            _take_out_in_turn(model, sample, block, seen.blocks[name], logits, prediction)
    return seen


@torch.no_grad()
def predict(model: nn.Module, sample: dict) -> tuple[Tensor, Tensor, Tensor | None]:
    """Predict logits (K, height, width) and classes (height, width) of an image; the third are the labels, if any.

    Where one channel tells two classes apart, the logit of the first one is the negative of the second one's.
    """
    batch = pseudo_collate([sample])
    if not has_pixels(sample):
        logits, label = (
            model(**model.data_preprocessor(batch), mode='tensor')[0],
            sample['data_samples'].get('gt_label'),
        )
        return logits[:, None, None], logits.argmax().view(1, 1), None if label is None else label.view(1, 1)
    result = model.test_step(batch)[0]
    labels = result.gt_sem_seg.data[0] if 'gt_sem_seg' in result else None
    logits = result.seg_logits.data
    if len(logits) == 1:  # what mmseg calls so is the probability then
        logits = logits.logit(eps=1e-6)
        logits = torch.cat([-logits, logits])
    return logits, result.pred_sem_seg.data[0].to(torch.uint8), labels  # such a class comes as a float


def has_pixels(sample: dict) -> bool:
    """Tell whether a sample is a segmentor's, whose pixels have classes; that of a classifier has one class."""
    return isinstance(sample['data_samples'], SegDataSample)


def _see(model: nn.Module, sample: dict, passes: Passes) -> SeenBlock:
    return SeenBlock(
        weights=torch.cat(passes.weights).mean(0).numpy(),
        before=_whole_map(model, sample, torch.cat(passes.before)).numpy(),
        after=_whole_map(model, sample, torch.cat(passes.after)).numpy(),
        shift=float(torch.cat(passes.shift).mean()),
    )


def _take_out_in_turn(
    model: nn.Module, sample: dict, block: nn.Module, seen: SeenBlock, logits: Tensor, prediction: Tensor
) -> None:
    changes = []
    for index in range(block.num_memories):
        with without(block, index):
            others, other_prediction, _ = predict(model, sample)
        change = others - logits  # (K, height, width)
        place = F.adaptive_avg_pool2d(change.abs().mean(0)[None], seen.before.shape)[0]
        changes.append((change.mean((1, 2)), (other_prediction != prediction).float().mean(), place))
    seen.score_change, seen.flips, places = (torch.stack(each).cpu().numpy() for each in zip(*changes, strict=True))
    seen.place_change = places if has_pixels(sample) else None


def _whole_map(model: nn.Module, sample: dict, maps: Tensor) -> Tensor:
    """Give the map of the image (h, w), put together from those of its windows in slide mode."""
    if not has_pixels(sample) or model.test_cfg.get('mode', 'whole') != 'slide':
        return maps[0]
    inputs = model.data_preprocessor(pseudo_collate([sample]), training=False)['inputs']
    return stitch(maps, tuple(inputs.shape[-2:]), model.test_cfg.crop_size, model.test_cfg.stride)
