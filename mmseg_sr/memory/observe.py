"""Measure what the memory does to one image: probe a segmentor's SR blocks, and take out memory blocks in turn.

Shape letters: K classes, P memory blocks, (h, w) size of a block's input map, (height, width) size of an image.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
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
    place_change: NDArray | None = None  # mean over classes of the absolute change, in cells of the map (P, h, w)
    flips: NDArray | None = None  # share of the pixels predicted as another class without a memory block (P,)


@dataclass
class Seen:
    """What was measured of one image."""

    path: str
    prediction: NDArray  # class of each pixel (height, width)
    logit_size: float  # mean absolute value of the logits, to compare their changes with
    shares: NDArray | None  # of each class in the labelled pixels (K,), if there are labels
    windows: int  # passes it took: one in ``whole`` mode
    blocks: dict[str, SeenBlock]  # by name


def observe(model: nn.Module, sample: dict, ablate: bool = True) -> Seen:
    """Predict one image with an mmseg segmentor in evaluation mode and measure what its SR blocks do.

    A change of the logits is a difference of float32 numbers: below a millionth of the logits it is rounding.

    Args:
        model: The segmentor.
        sample: ``inputs`` and ``data_samples`` of the image, as a test pipeline gives them.
        ablate: Whether to take each memory block out in turn: as many more passes as there are memory blocks.

    Raises:
        ValueError: For a model without an SR block.
    """
    with probe(model) as passes:
        logits, prediction, labels = _predict(model, sample)
    seen = Seen(
        path=str(sample['data_samples'].metainfo.get('img_path', '')),
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
def _predict(model: nn.Module, sample: dict) -> tuple[Tensor, Tensor, Tensor | None]:
    """Predict logits (K, height, width) and classes (height, width); the third are the labels, if any.

    Where one channel tells two classes apart, the logit of the first one is the negative of the second one's.
    """
    result = model.test_step(pseudo_collate([sample]))[0]
    labels = result.gt_sem_seg.data[0] if 'gt_sem_seg' in result else None
    logits = result.seg_logits.data
    logits = torch.cat([-logits, logits]) if len(logits) == 1 else logits
    return logits, result.pred_sem_seg.data[0].to(torch.uint8), labels  # such a class comes as a float


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
            others, other_prediction, _ = _predict(model, sample)
        change = others - logits  # (K, height, width)
        place = F.adaptive_avg_pool2d(change.abs().mean(0)[None], seen.before.shape)[0]
        changes.append((change.mean((1, 2)), place, (other_prediction != prediction).float().mean()))
    arrays = (torch.stack(each).cpu().numpy() for each in zip(*changes, strict=True))
    seen.score_change, seen.place_change, seen.flips = arrays


def _whole_map(model: nn.Module, sample: dict, maps: Tensor) -> Tensor:
    """Give the map of the image (h, w), put together from those of its windows in slide mode."""
    if model.test_cfg.get('mode', 'whole') != 'slide':
        return maps[0]
    inputs = model.data_preprocessor(pseudo_collate([sample]), training=False)['inputs']
    return stitch(maps, tuple(inputs.shape[-2:]), model.test_cfg.crop_size, model.test_cfg.stride)
