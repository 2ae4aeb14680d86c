"""What was seen, as rows of tables."""

from collections.abc import Sequence
from pathlib import Path

from .observe import Seen
from .stats import entropy, mean_shift
from .summary import Summary, drive_names, plain


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
                mean_shift=mean_shift(block.before, block.after),
                entropy=entropy(block.weights),
                memory_block=index,
                weight=weight,
                flips=None if block.flips is None else block.flips[index],
            )
        )
        for each, drive in zip(seen, drives, strict=True)
        for name, block in each.blocks.items()
        for index, weight in enumerate(block.weights)
    ]
