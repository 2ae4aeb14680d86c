"""Look at an image and its label, a map or the number of a class, with the transforms that load them."""

import contextlib
import copy
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from ..errors import one_line
from .loading import label_fault

KINDS = ('missing', 'unreadable', 'wrong size', 'channels', 'label ids', 'all void', 'duplicate')
MAX_BYTES = 2**30  # no image file is larger, and reading one would take the memory first


class Problem(NamedTuple):
    """What is wrong with one file; ``kind`` is one of :data:`KINDS`."""

    kind: str
    file: str
    what: str


class Look(NamedTuple):
    """What was found in an image and its label."""

    problems: list[Problem]
    digest: str  # sha256 of the image's file, '' where it cannot be read
    counts: dict[int, int]  # pixels of each id in a label map, or labels of each class, that can be used
    size: tuple[int, int] | None  # (height, width) of the image, where nothing brings the images to one


class _Fault(Exception):
    """Its arguments are kind and what of a :class:`Problem`."""


def look(
    sample: dict,
    load_image: Callable,
    load_labels: Callable | None,
    classes: int | None,
    ignored: int,
    channels: int,
    alike: bool = False,
) -> Look:
    """Open an image and its label map, and say what is wrong with them, or with the number of its class.

    Args:
        sample: What its dataset knows of it: ``img_path``, and ``seg_map_path`` or ``gt_label``.
        load_image: The transform that loads the image.
        load_labels: The one that loads the label map; None without label maps.
        classes: Number of classes; None where it is not known.
        ignored: The label id that counts as no class.
        channels: Of the image, as the network takes it.
        alike: Whether all images must have one size: it is handed back then.
    """
    image, label = pair_of(sample, load_labels)
    problems, digest, counts, size = [], '', {}, None
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
            counts = dict(enumerate(np.bincount(labels.ravel()).tolist()))
    elif label:
        with _noting(problems, image):
            labels = np.atleast_1d(sample['gt_label'])
            if classes and not (0 <= labels.min() and labels.max() < classes):
                raise _Fault('label ids', f'label {label}, and the classes are 0 to {classes - 1}')
            counts = Counter(labels.tolist())
    return Look(problems, digest, counts, size if alike else None)


def pair_of(sample: dict, load_labels: Callable | None) -> tuple[str, str]:
    """Name the image of a sample, and its label map or class; '' where there is none."""
    label = sample.get('seg_map_path' if load_labels else 'gt_label')
    return str(sample['img_path']), '' if label is None else str(label)


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
