"""Every image and label map of a config's datasets, opened and held against the classes and the other splits.

What is looked at is what mmseg reads: each dataset's own list of files, loaded by the loading transforms of its own
pipeline, and none of the random ones.
"""

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_dir_or_file
from mmseg.datasets import BaseSegDataset
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from ..errors import UserError, one_line
from .loading import label_fault, leaves, loaders, samples

KINDS = ('missing', 'unreadable', 'wrong size', 'channels', 'label ids', 'all void', 'duplicate')
MAX_BYTES = 2**30  # no image file is larger; to read what is would take the memory first
MAX_THREADS = 256  # more would wait for one another and for the disk


@dataclass
class Pair:
    """What a dataset knows of an image, and what its pipeline and the network make of that.

    Attributes:
        sample: With ``img_path``, and ``seg_map_path`` and how to read it where there are labels.
        load_image: The transform that loads the image.
        load_labels: The one that loads the labels; None where they are not used.
        classes: Number of classes; None where it is not known.
        ignored: The label id that counts as no class.
        channels: Of the image, as the network takes it.
    """

    sample: dict
    load_image: Callable[[dict], dict | None]
    load_labels: Callable[[dict], dict | None] | None
    classes: int | None
    ignored: int
    channels: int

    @property
    def image(self) -> str:
        """Path of the image."""
        return str(self.sample['img_path'])

    @property
    def label(self) -> str | None:
        """Path of the label map, where it is used and there is one."""
        path = self.sample.get('seg_map_path') if self.load_labels else None
        return str(path) if path else None


class Problem(NamedTuple):
    """What is wrong with one file.

    Attributes:
        kind: One of :data:`KINDS`.
        file: Its path.
        what: What was found.
    """

    kind: str
    file: str
    what: str


@dataclass
class Look:
    """What was found in a pair.

    Attributes:
        problems: What is wrong.
        digest: sha256 of the image's file; empty where it could not be read.
        pixels: Number of pixels of each id, 0 to 255; all 0 without a label map that can be used.
    """

    problems: list[Problem] = field(default_factory=list)
    digest: str = ''
    pixels: np.ndarray | int = 0


class _Fault(Exception):
    def __init__(self, kind: str, what: str):
        super().__init__(what)
        self.kind = kind


def look(pair: Pair) -> Look:
    """Open an image and its label map."""
    seen = Look()
    size = None
    try:
        content = _read(pair.image, pair.load_image)
        seen.digest = hashlib.sha256(content).hexdigest()
        size = _image_size(pair, content)
    except _Fault as fault:
        seen.problems.append(Problem(fault.kind, pair.image, str(fault)))
    if pair.load_labels:
        try:
            seen.pixels = _count(pair, size)
        except _Fault as fault:
            seen.problems.append(Problem(fault.kind, pair.label or pair.image, str(fault)))
    return seen


def _read(path: str, load: Callable) -> bytes:
    if '://' not in path and os.path.exists(path):
        if not os.path.isfile(path):
            raise _Fault('unreadable', 'it is no file')
        if os.path.getsize(path) > MAX_BYTES:
            raise _Fault('unreadable', f'{os.path.getsize(path):,} bytes: too large for an image')
    try:
        return fileio.get(path, backend_args=getattr(load, 'backend_args', None))
    except FileNotFoundError:
        raise _Fault('missing', 'it is not there') from None
    except Exception as error:  # each place has its own
        raise _Fault('unreadable', one_line(error)) from error


def _picture(content: bytes) -> Image.Image | None:
    """Decode all of a file: OpenCV makes something of a damaged one. None for a format that Pillow does not know."""
    try:
        picture = Image.open(BytesIO(content))
        picture.load()
        return picture
    except UnidentifiedImageError:
        return None
    except Exception as error:  # Pillow raises what its decoders do
        raise _Fault('unreadable', one_line(error)) from error


def _load(pair: Pair, load: Callable, result: str) -> np.ndarray:
    try:
        return load(copy.deepcopy(pair.sample))[result]
    except Exception as error:
        raise _Fault('unreadable', one_line(error)) from error


def _image_size(pair: Pair, content: bytes) -> tuple[int, int]:
    """(height, width) of an image as mmseg reads it."""
    _picture(content)
    image = _load(pair, pair.load_image, 'img')
    channels = image.shape[2] if image.ndim > 2 else 1
    if channels != pair.channels:
        raise _Fault('channels', f'{channels} channels, the network takes {pair.channels}')
    return image.shape[:2]


def _count(pair: Pair, size: tuple[int, int] | None) -> np.ndarray:
    """Count the pixels of each id. ``size`` of the image is None where it cannot be read."""
    if pair.label is None:
        raise _Fault('missing', 'its dataset names no label map for it')
    picture = _picture(_read(pair.label, pair.load_labels))
    if picture and len(picture.getbands()) == 1 and picture.mode not in ('1', 'L', 'P'):
        low, high = picture.getextrema()
        if low < 0 or high > 255:
            raise _Fault('label ids', f'label ids {low} to {high}, and mmseg reads one byte of each')
    labels = _load(pair, pair.load_labels, 'gt_seg_map')
    fault = label_fault(labels, size or labels.shape[:2], pair.classes, pair.ignored)
    if fault:
        raise _Fault(*fault)
    if (labels == pair.ignored).all():
        raise _Fault('all void', f'every pixel is {pair.ignored}')
    return np.bincount(labels.ravel(), minlength=256)


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
        for other, twin in others:
            splits[other].problems.append(Problem('duplicate', twin, f'the same image as {file} in {first}'))
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
