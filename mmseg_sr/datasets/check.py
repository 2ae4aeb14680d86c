"""Check every image and label map of a config's datasets against the classes and the other splits.

Files are read as mmseg reads them: each dataset's own list, loaded by the loading transforms of its own pipeline.
"""

import contextlib
import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import BaseDataset
from PIL import Image, UnidentifiedImageError
from tqdm.contrib.concurrent import thread_map

from ..errors import one_line
from .loading import label_fault, leaves, loaders, orphans, samples

KINDS = ('missing', 'unreadable', 'wrong size', 'channels', 'label ids', 'all void', 'duplicate')
MAX_BYTES = 2**30  # no image file is larger, and reading one would take the memory first
MAX_THREADS = 256  # more would wait for one another and for the disk


class Pair(NamedTuple):
    """An image and its label map, and how the pipeline and the network take them.

    Attributes:
        image: Path of the image.
        label: Path of the label map; '' where the dataset names none.
        sample: What the dataset knows of them, for the loading transforms.
        load_image: The transform that loads the image.
        load_labels: The one that loads the labels; None where they are not used.
        classes, ignored, channels: As in :func:`check`.
    """

    image: str
    label: str
    sample: dict
    load_image: Callable[[dict], dict | None]
    load_labels: Callable[[dict], dict | None] | None
    classes: int | None
    ignored: int
    channels: int


class Problem(NamedTuple):
    """What is wrong with one file; ``kind`` is one of :data:`KINDS`."""

    kind: str
    file: str
    what: str


@dataclass
class Split:
    """The pairs that one data loader reads or several, by their files, and what was found in all of them.

    ``pixels`` (256,) is the number of pixels of each label id in all label maps that can be used.
    """

    pairs: dict[tuple[str, str], Pair]
    problems: list[Problem]
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))


class _Fault(Exception):
    def __init__(self, kind: str, what: str):
        super().__init__(what)
        self.kind = kind


def check(
    datasets: Mapping[str, BaseDataset], classes: int | None, ignored: int, channels: int, workers: int = 1
) -> dict[str, Split]:
    """Check every file of some datasets.

    Args:
        datasets: By the name of their split. Those that read the same files are one, 'val+test', but for 'train'.
        classes: Number of classes; None for what the datasets say.
        ignored: The label id that counts as no class.
        channels: Of the images, as the network takes them.
        workers: Number of threads.

    Returns:
        Splits by name, with their problems.

    Raises:
        UserError: For a dataset that is not of images and label maps.
    """
    splits: dict[str, Split] = {}
    for name, dataset in datasets.items():
        unused = [Problem('missing', label, 'it has no image') for label in orphans(dataset)]
        split = Split(_pairs(dataset, classes, ignored, channels), unused)
        files = split.pairs.keys()
        twin = next((known for known in splits if known != 'train' and splits[known].pairs.keys() == files), None)
        splits[f'{twin}+{name}' if twin else name] = splits.pop(twin) if twin else split
    pairs = [pair for split in splits.values() for pair in split.pairs.values()]
    # Threads: what decodes and hashes lets go of Python's lock, and a process would first import for seconds.
    looks = iter(thread_map(look, pairs, max_workers=min(workers, MAX_THREADS), desc='check', unit='image'))
    images: dict[str, dict[str, str]] = {}  # sha256 of a file -> split -> the file
    for name, split in splits.items():
        for image, _ in split.pairs:
            problems, digest, pixels = next(looks)
            split.problems += problems
            split.pixels += pixels
            if digest:
                images.setdefault(digest, {}).setdefault(name, image)
    for files in images.values():
        (first, file), *others = files.items()
        for other, twin in others:
            splits[other].problems.append(Problem('duplicate', twin, f'the same image as {file} in {first}'))
    return splits


def look(pair: Pair) -> tuple[list[Problem], str, np.ndarray | int]:
    """Open an image and its label map: problems, sha256 of the image's file ('' without), pixels of each id (256,)."""
    problems, digest, pixels, size = [], '', 0, None
    with _noting(problems, pair.image):
        content = _read(pair.image, pair.load_image)
        digest = hashlib.sha256(content).hexdigest()
        _decode(content)
        image = pair.load_image(copy.deepcopy(pair.sample))['img']
        size, channels = image.shape[:2], image.shape[2] if image.ndim > 2 else 1
        if channels != pair.channels:
            raise _Fault('channels', f'{channels} channels, the network takes {pair.channels}')
    if pair.load_labels:
        with _noting(problems, pair.label or pair.image):
            pixels = _count(pair, size)
    return problems, digest, pixels


@contextlib.contextmanager
def _noting(problems: list[Problem], file: str) -> Iterator[None]:
    """Add what is raised inside the ``with`` block to the problems of a file."""
    try:
        yield
    except _Fault as fault:
        problems.append(Problem(fault.kind, file, str(fault)))
    except FileNotFoundError:
        problems.append(Problem('missing', file, 'it is not there'))
    except Exception as error:  # each library that reads and decodes has its own
        problems.append(Problem('unreadable', file, one_line(error)))


def _read(path: str, load: Callable) -> bytes:
    if '://' not in path and os.path.exists(path):
        if not os.path.isfile(path):
            raise _Fault('unreadable', 'it is no file')
        if os.path.getsize(path) > MAX_BYTES:
            raise _Fault('unreadable', f'{os.path.getsize(path):,} bytes: too large for an image')
    return fileio.get(path, backend_args=getattr(load, 'backend_args', None))


def _decode(content: bytes) -> Image.Image | None:
    """Decode all of a file: OpenCV makes something of a damaged one. None for a format that Pillow does not know."""
    with contextlib.suppress(UnidentifiedImageError):
        picture = Image.open(BytesIO(content))
        picture.load()
        return picture


def _count(pair: Pair, size: tuple[int, int] | None) -> np.ndarray:
    """Count the pixels of each id. ``size`` of the image is None where it cannot be read."""
    if not pair.label:
        raise _Fault('missing', 'its dataset names no label map for it')
    picture = _decode(_read(pair.label, pair.load_labels))
    if picture and len(picture.getbands()) == 1 and picture.mode not in ('1', 'L', 'P'):
        low, high = picture.getextrema()
        if low < 0 or high > 255:
            raise _Fault('label ids', f'label ids {low} to {high}, and mmseg reads one byte of each')
    labels = pair.load_labels(copy.deepcopy(pair.sample))['gt_seg_map']
    fault = label_fault(labels, size or labels.shape[:2], pair.classes, pair.ignored)
    if fault:
        raise _Fault(*fault)
    if (labels == pair.ignored).all():
        raise _Fault('all void', f'every pixel is {pair.ignored}')
    return np.bincount(labels.ravel(), minlength=256)


def _pairs(dataset: BaseDataset, classes: int | None, ignored: int, channels: int) -> dict[tuple[str, str], Pair]:
    """Find the pairs of a dataset by their files: once, also where a dataset repeats them."""
    pairs = {}
    for leaf in leaves(dataset):
        known = samples(leaf)
        images, labels = loaders(getattr(leaf, 'pipeline', None))
        load_image, load_labels = (images or [LoadImageFromFile()])[0], (labels or [None])[0]
        count = classes or len(leaf.metainfo.get('classes') or ()) or None
        for sample in known:
            files = str(sample['img_path']), str(load_labels and sample.get('seg_map_path') or '')
            pairs[files] = Pair(*files, sample, load_image, load_labels, count, ignored, channels)
    return pairs
