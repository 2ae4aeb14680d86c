"""One image and its label map, opened as mmseg opens them, and what is wrong with them."""

import copy
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from mmseg_sr.datasets.loading import label_fault
from mmseg_sr.errors import one_line

KINDS = ('missing', 'unreadable', 'wrong size', 'channels', 'label ids', 'all void', 'duplicate')
MAX_BYTES = 2**30  # no image file is larger; to read what is would take the memory first


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
