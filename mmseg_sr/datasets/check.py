"""Every image and label map of a config's datasets, opened and held against the classes and the other splits.

What is looked at is what mmseg reads: each dataset's own list of files, loaded by the loading transforms of its own
pipeline, and none of the random ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_dir_or_file
from mmseg.datasets import BaseSegDataset
from tqdm import tqdm

from mmseg_sr.datasets.loading import leaves, loaders, samples
from mmseg_sr.datasets.pairs import Look, Pair, Problem, look
from mmseg_sr.errors import UserError

MAX_THREADS = 256  # more would wait for one another and for the disk


@dataclass
class Split:
    """One list of images, that one data loader reads or several.

    Attributes:
        pairs: Images and their label maps.
        orphans: Label maps without an image.
        problems: What is wrong with all of them.
        pixels: Number of pixels of each id, 0 to 255, in all label maps that can be used.
    """

    pairs: list[Pair]
    orphans: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))


def check(
    datasets: Mapping[str, BaseDataset], classes: int | None, ignored: int, channels: int, workers: int = 1
) -> dict[str, Split]:
    """Look at every file of some datasets.

    Args:
        datasets: By the name of their split. Those that read the same files are one, 'val+test', but for 'train'.
        classes: Number of classes; None for what the datasets say.
        ignored: The label id that counts as no class.
        channels: Of the images, as the network takes them.
        workers: Threads that look.

    Returns:
        Splits by name, with their problems.

    Raises:
        UserError: For a dataset that is not of images and label maps, or no workers.
    """
    if workers < 1:
        raise UserError(f'the number of workers must be 1 or more, not {workers}')
    splits: dict[str, Split] = {}
    for name, dataset in datasets.items():
        split = Split(_pairs(dataset, classes, ignored, channels), orphans=_orphans(dataset))
        twin = next((known for known in splits if known != 'train' and _files(splits[known]) == _files(split)), None)
        splits[f'{twin}+{name}' if twin else name] = splits.pop(twin) if twin else split
    seen = look_at_all([pair for split in splits.values() for pair in split.pairs], workers)
    images: dict[str, dict[str, str]] = {}  # sha256 of a file -> split -> the file
    for name, split in splits.items():
        split.problems = [Problem('missing', label, 'it has no image') for label in split.orphans]
        for pair in split.pairs:
            found = next(seen)
            split.problems += found.problems
            split.pixels += found.pixels
            if found.digest:
                images.setdefault(found.digest, {}).setdefault(name, pair.image)
    for files in images.values():
        (first, file), *others = files.items()
        for other, copy in others:
            splits[other].problems.append(Problem('duplicate', copy, f'the same image as {file} in {first}'))
    return splits


def look_at_all(pairs: Sequence[Pair], workers: int) -> Iterator[Look]:
    """Look at pairs, several at a time, in their order."""
    # Threads: what decodes and hashes lets go of Python's lock, and a process would first import for seconds.
    with ThreadPoolExecutor(min(workers, MAX_THREADS)) as pool:
        try:
            yield from tqdm(pool.map(look, pairs), total=len(pairs), desc='check', unit='image')
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _pairs(dataset: BaseDataset, classes: int | None, ignored: int, channels: int) -> list[Pair]:
    pairs = {}
    for leaf in leaves(dataset):
        known = samples(leaf)
        images, labels = loaders(getattr(leaf, 'pipeline', None))
        load = (images or [LoadImageFromFile()])[0], (labels or [None])[0]
        count = classes or len(leaf.metainfo.get('classes') or ()) or None
        for sample in known:
            pair = Pair(sample, *load, count, ignored, channels)
            pairs[pair.image, pair.label] = pair  # once, also where a dataset repeats it
    return list(pairs.values())


def _files(split: Split) -> set[tuple[str, str | None]]:
    return {(pair.image, pair.label) for pair in split.pairs}


def _orphans(dataset: BaseDataset) -> list[str]:
    """Label maps without an image, where whole folders are listed in mmseg's way."""
    found = []
    for leaf in leaves(dataset):
        if getattr(type(leaf), 'load_data_list', None) is not BaseSegDataset.load_data_list:
            continue
        folder = leaf.data_prefix.get('seg_map_path')
        if folder and Path(folder).is_dir() and not (leaf.ann_file or leaf._indices):
            labels = list_dir_or_file(folder, list_dir=False, suffix=leaf.seg_map_suffix, recursive=True)
            known = {Path(sample['seg_map_path']) for sample in samples(leaf)}
            found += sorted(str(path) for label in labels if (path := Path(folder, label)) not in known)
    return found
