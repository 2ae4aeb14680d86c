"""Summarise what an SR block does over images: the numbers behind figures and files.

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
    """What one SR block does to N images."""

    of: str  # what has a class: 'pixel', of a segmentor's images, or 'image'
    weights: NDArray  # softmax weights (N, P)
    classes: list[str]
    # Names of groups of images, and their weights: 'all', 'classes', if there are labels, and 'drives' (cities or
    # drives), where the file names of a segmentor's images tell them.
    groups: dict[str, tuple[list[str], GroupWeights]]
    shift: NDArray  # norm of what the block adds, relative to the norm of its input (N,)
    mean_shift: NDArray  # shift of the channel-mean activation (N,), as in the paper
    memory_means: NDArray  # channel mean of each memory block (P, H, W)
    norms: NDArray  # of each memory block (P,)
    similarity: NDArray  # cosine between memory blocks (P, P)
    logit_size: float  # mean absolute value of the logits
    ablated: int  # images of which memory blocks were taken out in turn; what follows is of them, None if there is none
    score_change: NDArray | None  # mean change of the logits without a memory block (P, K)
    flips: NDArray | None  # share of pixels, or of images, predicted as another class then (P,)

    def document(self) -> dict:
        """Give everything but the maps, as JSON takes it: NaN is None."""
        keys = ('mean', 'std', 'images')
        weights = {
            kind: {name: dict(zip(keys, each, strict=True)) for name, *each in zip(names, *found, strict=True)}
            for kind, (names, found) in self.groups.items()
        }
        change = None if self.score_change is None else dict(zip(self.classes, self.score_change.T, strict=True))
        document = {
            'num_memories': len(self.norms),
            'images': len(self.weights),
            'usage': stats.usage(self.weights)._asdict(),
            'entropy': stats.entropy(self.weights).mean(),
            'entropy_normalised': stats.entropy(self.weights, normalised=True).mean(),
            'dead_blocks': np.flatnonzero(stats.dead_blocks(self.weights)),
            'norms': self.norms,
            'similarity': self.similarity,
            'shift': _spread(self.shift),
            'mean_shift': _spread(self.mean_shift),
            'weights': {'classes': None, 'drives': None, **weights, 'all': weights['all']['all']},
            'logit_size': self.logit_size,
            'ablated': self.ablated,
            'score_change': change,
            'flips': self.flips,
        }
        return plain(document)


def summarise(seen: Sequence[Seen], name: str, block: SRBlock, classes: Sequence[str]) -> Summary:
    """Summarise what the SR block ``name`` does to several images, ``classes`` being the names of the K classes.

    Raises:
        ValueError: Without an image.
    """
    if not seen:
        raise ValueError('there is no image to summarise')
    views = [each.blocks[name] for each in seen]
    ablated = [view for view in views if view.flips is not None]
    weights = np.stack([view.weights for view in views])
    shares = {'all': (['all'], np.ones((len(seen), 1)))}
    if all(each.shares is not None for each in seen):
        shares['classes'] = (list(classes), np.stack([each.shares for each in seen]))
    drives, drive_of = np.unique(drive_names([each.path for each in seen]), return_inverse=True)
    if seen[0].of == 'pixel' and 1 < len(drives) <= len(seen) / 2:
        shares['drives'] = (drives.tolist(), np.eye(len(drives))[drive_of])
    memory = block.memory_blocks().detach().float().cpu().numpy()
    return Summary(
        of=seen[0].of,
        weights=weights,
        classes=list(classes),
        groups={kind: (names, stats.weights_by_group(weights, each)) for kind, (names, each) in shares.items()},
        shift=np.array([view.shift for view in views]),
        mean_shift=np.array([stats.mean_shift(view.before, view.after) for view in views]),
        memory_means=memory.mean(1),
        norms=stats.norms(memory),
        similarity=stats.similarity(memory),
        logit_size=float(np.mean([each.logit_size for each in seen])),
        ablated=len(ablated),
        score_change=np.mean([view.score_change for view in ablated], axis=0) if ablated else None,
        flips=np.mean([view.flips for view in ablated], axis=0) if ablated else None,
    )


def drive_names(paths: Sequence[str]) -> list[str]:
    """Read the city or drive of each image from its file name, up to the first underscore, as in Cityscapes and CamVid.

    Example:
        >>> drive_names(['val_1/ulm/ulm_000001_000019_leftImg8bit.png', '0016E5_07959.jpg', 'plain.png'])
        ['ulm', '0016E5', 'plain']
    """
    return [Path(path).stem.split('_')[0] for path in paths]


def plain(value: object) -> object:
    """Turn arrays into lists, numbers into Python's with six significant digits, and NaN into None.

    Example:
        >>> plain({'a': np.array([0.123456789, np.nan]), 'b': np.int64(3)})
        {'a': [0.123457, None], 'b': 3}
    """
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f'{value:.6g}') if math.isfinite(value) else None
    return value


def _spread(values: NDArray) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    return {name: getattr(known, name)() if len(known) else None for name in ('mean', 'min', 'max')}


def weight_rows(name: str, summary: Summary) -> list[dict]:
    """Make a row for each group and memory block: all images, each class, each city or drive."""
    return [
        plain(dict(sr_block=name, kind=kind, group=group, images=images, memory_block=block, mean=mean, std=std))
        for kind, key in (('all', 'all'), ('class', 'classes'), ('drive', 'drives'))
        if key in summary.groups
        for group, means, stds, images in zip(summary.groups[key][0], *summary.groups[key][1], strict=True)
        for block, (mean, std) in enumerate(zip(means, stds, strict=True))
    ]


def score_rows(name: str, summary: Summary) -> list[dict]:
    """Make a row for each memory block and class: the change of the class's logit without the block, if measured."""
    if summary.score_change is None:
        return []
    return [
        plain({'sr_block': name, 'memory_block': block, 'class': label, 'change': change})
        for block, changes in enumerate(summary.score_change)
        for label, change in zip(summary.classes, changes, strict=True)
    ]


def image_rows(seen: Sequence[Seen], classes: Sequence[str]) -> list[dict]:
    """Make a row for each image, SR block and memory block in it; of a classifier with the class of the image."""
    rows = []
    for each, drive in zip(seen, drive_names([each.path for each in seen]), strict=True):
        whose = dict(drive=drive) if each.of == 'pixel' else each.said(classes)
        for name, block in each.blocks.items():
            shared = dict(image=Path(each.path).name, **whose, sr_block=name, shift=block.shift)
            shared |= dict(mean_shift=stats.mean_shift(block.before, block.after), entropy=stats.entropy(block.weights))
            for index, weight in enumerate(block.weights):
                flips = None if block.flips is None else block.flips[index]
                rows.append(plain(dict(**shared, memory_block=index, weight=weight, flips=flips)))
    return rows
