"""From what was seen in single images to what an SR block does: the numbers behind figures and files.

Shape letters: N images, K classes, P memory blocks, C channels, (H, W) size of the memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..models.block import SRBlock
from . import stats
from .observe import Seen
from .stats import GroupWeights


@dataclass
class Summary:
    """What one SR block does to N images.

    Attributes:
        weights: Softmax weights of the images (N, P).
        everything: Their mean and std over all images, as one group.
        classes: Names of the K classes.
        by_class: Weights by class, or None without labels.
        drives: Names of the cities or drives.
        by_drive: Weights by city or drive, or None where the file names tell none.
        shift: Norm of what the block adds, relative to the norm of its input (N,).
        mean_shift: Shift of the channel-mean activation (N,), as in the paper.
        memory_means: Channel mean of each memory block (P, H, W).
        norms: Norm of each memory block (P,).
        similarity: Cosine between memory blocks (P, P).
        logit_size: Mean absolute value of the logits.
        score_change: Mean change of the logits without a memory block (P, K), or None if none was taken out.
        flips: Share of pixels predicted as another class then (P,), or None.
    """

    weights: NDArray
    everything: GroupWeights
    classes: list[str]
    by_class: GroupWeights | None
    drives: list[str]
    by_drive: GroupWeights | None
    shift: NDArray
    mean_shift: NDArray
    memory_means: NDArray
    norms: NDArray
    similarity: NDArray
    logit_size: float
    score_change: NDArray | None
    flips: NDArray | None

    def document(self) -> dict:
        """Everything but the maps, as JSON takes it: NaN is None."""
        usage = stats.usage(self.weights)
        document = {
            'num_memories': len(self.norms),
            'images': len(self.weights),
            'usage': usage._asdict(),
            'entropy': stats.entropy(self.weights).mean(),
            'entropy_normalised': stats.entropy(self.weights, normalised=True).mean(),
            'dead_blocks': np.flatnonzero(stats.dead_blocks(self.weights)),
            'norms': self.norms,
            'similarity': self.similarity,
            'shift': _spread(self.shift),
            'mean_shift': _spread(self.mean_shift),
            'weights': {
                'all': _groups(['all'], self.everything)['all'],
                'classes': _groups(self.classes, self.by_class),
                'drives': _groups(self.drives, self.by_drive),
            },
            'logit_size': self.logit_size,
            'score_change': None
            if self.score_change is None
            else dict(zip(self.classes, self.score_change.T, strict=True)),
            'flips': self.flips,
        }
        return plain(document)


def summarise(seen: Sequence[Seen], name: str, block: SRBlock, classes: Sequence[str]) -> Summary:
    """Put together what one SR block does to several images.

    Args:
        seen: The images.
        name: The block's name in them.
        block: The block itself, for its memory.
        classes: Names of the K classes.

    Raises:
        ValueError: Without an image.
    """
    if not seen:
        raise ValueError('there is no image to summarise')
    views = [each.blocks[name] for each in seen]
    weights = np.stack([view.weights for view in views])
    drives, membership = stats.membership(drive_names([each.path for each in seen]))
    labelled = all(each.shares is not None for each in seen)
    ablated = all(view.flips is not None for view in views)
    memory = block.memory_blocks().detach().float().cpu().numpy()
    return Summary(
        weights=weights,
        everything=stats.weights_by_group(weights, np.ones((len(weights), 1))),
        classes=list(classes),
        by_class=stats.weights_by_group(weights, np.stack([each.shares for each in seen])) if labelled else None,
        drives=drives,
        by_drive=stats.weights_by_group(weights, membership) if 1 < len(drives) <= len(seen) / 2 else None,
        shift=np.array([view.shift for view in views]),
        mean_shift=np.array([stats.mean_shift(view.before, view.after) for view in views]),
        memory_means=memory.mean(1),
        norms=stats.norms(memory),
        similarity=stats.similarity(memory),
        logit_size=float(np.mean([each.logit_size for each in seen])),
        score_change=np.mean([view.score_change for view in views], axis=0) if ablated else None,
        flips=np.mean([view.flips for view in views], axis=0) if ablated else None,
    )


def drive_names(paths: Sequence[str]) -> list[str]:
    """The city or drive of each image: its file name up to the first underscore, as Cityscapes and CamVid have it.

    Example:
        >>> drive_names(['val/ulm/ulm_000001_000019_leftImg8bit.png', '0016E5_07959.jpg'])
        ['ulm', '0016E5']
    """
    return [Path(path).stem.split('_')[0] for path in paths]


def plain(value: object) -> object:
    """Arrays to lists, numbers to Python's, NaN to None, with six significant digits.

    Example:
        >>> plain({'a': np.array([0.123456789, np.nan]), 'b': np.int64(3)})
        {'a': [0.123457, None], 'b': 3}
    """
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f'{value:.6g}') if math.isfinite(value) else None
    return value


def _spread(values: NDArray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return dict.fromkeys(('mean', 'min', 'max'))
    return {'mean': known.mean(), 'min': known.min(), 'max': known.max()}


def _groups(names: Sequence[str], weights: GroupWeights | None) -> dict[str, dict] | None:
    if weights is None:
        return None
    rows = zip(names, *weights, strict=True)
    return {name: {'images': images, 'mean': mean, 'std': std} for name, mean, std, images in rows}


def weight_rows(name: str, summary: Summary) -> list[dict]:
    """A row for each group and memory block: all images, each class, each city or drive."""
    kinds = (
        ('all', ['all'], summary.everything),
        ('class', summary.classes, summary.by_class),
        ('drive', summary.drives, summary.by_drive),
    )
    return [
        plain(dict(sr_block=name, kind=kind, group=group, images=images, memory_block=block, mean=mean, std=std))
        for kind, groups, weights in kinds
        if weights is not None
        for group, means, stds, images in zip(groups, *weights, strict=True)
        for block, (mean, std) in enumerate(zip(means, stds, strict=True))
    ]


def score_rows(name: str, summary: Summary) -> list[dict]:
    """A row for each memory block and class: the change of the class's logit without the block. None not measured."""
    if summary.score_change is None:
        return []
    return [
        plain({'sr_block': name, 'memory_block': block, 'class': label, 'change': change})
        for block, changes in enumerate(summary.score_change)
        for label, change in zip(summary.classes, changes, strict=True)
    ]


def image_rows(seen: Sequence[Seen]) -> list[dict]:
    """A row for each image, SR block and memory block in it."""
    drives = drive_names([each.path for each in seen])
    return [
        plain(
            dict(
                image=Path(each.path).name,
                drive=drive,
                sr_block=name,
                shift=block.shift,
                mean_shift=stats.mean_shift(block.before, block.after),
                entropy=stats.entropy(block.weights),
                memory_block=index,
                weight=weight,
                flips=None if block.flips is None else block.flips[index],
            )
        )
        for each, drive in zip(seen, drives, strict=True)
        for name, block in each.blocks.items()
        for index, weight in enumerate(block.weights)
    ]
