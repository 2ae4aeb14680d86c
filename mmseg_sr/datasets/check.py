"""Check every image and label map of a config's datasets against the classes and the other splits.

Files are read as mmseg reads them: each dataset's own list, loaded by the loading transforms of its own pipeline.
"""

import contextlib
import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import NamedTuple

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import BaseDataset
from PIL import Image, UnidentifiedImageError
from tqdm.contrib.concurrent import thread_map

from ..errors import one_line
from ..progress import Bar
from .classes import listed
from .loading import label_fault, leaves, loaders, orphans, samples

KINDS = ('missing', 'unreadable', 'wrong size', 'channels', 'label ids', 'all void', 'duplicate')
MAX_BYTES = 2**30  # no image file is larger, and reading one would take the memory first
MAX_THREADS = 256  # more would wait for one another and for the disk


class Problem(NamedTuple):
    """What is wrong with one file; ``kind`` is one of :data:`KINDS`."""

    kind: str
    file: str
    what: str


class Look(NamedTuple):
    """What was found in an image and its label map."""

    problems: list[Problem]
    digest: str  # sha256 of the image's file, '' where it cannot be read
    pixels: np.ndarray | int  # of each label id (256,), 0 without a label map that can be used


@dataclass
class Split:
    """The images and label maps that one data loader reads, or several, and what was found in all of them."""

    pairs: dict[tuple[str, str], Callable[[], Look]]  # how to look at (image, label map or '')
    problems: list[Problem]
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # of each id in usable label maps


class _Fault(Exception):
    """Its arguments are kind and what of a :class:`Problem`."""


def check(
    datasets: Mapping[str, BaseDataset],
    classes: int | None,
    ignored: int,
    channels: int,
    workers: int = 1,
    trained: int | None = None,
) -> dict[str, Split]:
    """Check every file of some datasets.

    Args:
        datasets: By the name of their split. Those that read the same files are one, 'val+test', but for 'train'.
        classes: Number of classes; None for what the datasets say.
        ignored: The label id that counts as no class.
        channels: Of the images, as the network takes them.
        workers: Number of threads.
        trained: Number of classes in 'train', where a head that is trained only has fewer.

    Raises:
        UserError: For a dataset that is not of images and label maps.
    """
    splits = _splits(datasets, (trained or classes, classes), ignored, channels)
    pairs = [pair for split in splits.values() for pair in split.pairs.values()]
    # Threads: what decodes and hashes lets go of Python's lock, and a process would first import for seconds.
    threads = dict(max_workers=min(workers, MAX_THREADS), desc='check', unit='image', tqdm_class=Bar)
    looks = iter(thread_map(lambda pair: pair(), pairs, **threads))
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


def look(
    sample: dict, load_image: Callable, load_labels: Callable | None, classes: int | None, ignored: int, channels: int
) -> Look:
    """Open an image and its label map with the transforms that load them; ``load_labels`` is None without labels.

    ``sample`` is what its dataset knows of it: ``img_path``, ``seg_map_path``. The rest is as in :func:`check`.
    """
    image, label = _files(sample, load_labels)
    problems, digest, pixels, size = [], '', 0, None
    with _noting(problems, image):
        content = _read(image, load_image)
        digest = hashlib.sha256(content).hexdigest()
        _decode(content)
        shape = load_image(copy.deepcopy(sample))['img'].shape
        size, found = shape[:2], shape[2] if len(shape) > 2 else 1
        if found != channels:
            raise _Fault('channels', f'{found} channels, the network takes {channels}')
    if load_labels:
        with _noting(problems, label or image):
            if not label:
                raise _Fault('missing', 'its dataset names no label map for it')
            _check_range(_decode(_read(label, load_labels)))
            labels = load_labels(copy.deepcopy(sample))['gt_seg_map']
            fault = label_fault(labels, size or labels.shape[:2], classes, ignored)
            if fault:
                raise _Fault(*fault)
            if (labels == ignored).all():
                raise _Fault('all void', f'every pixel is {ignored}')
            pixels = np.bincount(labels.ravel(), minlength=256)
    return Look(problems, digest, pixels)


@contextlib.contextmanager
def _noting(problems: list[Problem], file: str) -> Iterator[None]:
    """Add what is raised inside the ``with`` block to the problems of a file."""
    try:
        yield
    except _Fault as fault:
        kind, what = fault.args
        problems.append(Problem(kind, file, what))
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


def _check_range(picture: Image.Image | None) -> None:
    """Refuse label maps of more than one byte a pixel where a byte cannot hold the ids."""
    if picture and len(picture.getbands()) == 1 and picture.mode not in ('1', 'L', 'P'):
        low, high = picture.getextrema()
        if low < 0 or high > 255:
            raise _Fault('label ids', f'label ids {low} to {high}, and mmseg reads one byte of each')


def _splits(datasets: Mapping[str, BaseDataset], classes: tuple, *expected: int) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for name, dataset in datasets.items():
        pairs = _pairs(dataset, classes[name != 'train'], *expected)
        unused = [Problem('missing', label, 'it has no image') for label in orphans(dataset)]
        twin = next((each for each in splits if each != 'train' and splits[each].pairs.keys() == pairs.keys()), None)
        splits[f'{twin}+{name}' if twin else name] = splits.pop(twin) if twin else Split(pairs, unused)
    return splits


def _files(sample: dict, load_labels: Callable | None) -> tuple[str, str]:
    return str(sample['img_path']), str(load_labels and sample.get('seg_map_path') or '')


def _pairs(dataset: BaseDataset, classes: int | None, *expected: int) -> dict[tuple[str, str], Callable[[], Look]]:
    """Find how to look at each pair of a dataset, once, also where the dataset repeats it."""
    pairs = {}
    for leaf in leaves(dataset):
        known = samples(leaf)
        images, labels = loaders(getattr(leaf, 'pipeline', None))
        load = (images or [LoadImageFromFile()])[0], (labels or [None])[0]
        count = classes or len(listed(leaf.metainfo).get('classes', [])) or None
        pairs |= {_files(sample, load[1]): partial(look, sample, *load, count, *expected) for sample in known}
    return pairs
