"""Make label images of Cityscapes annotations: cityscapesscripts draws polygons, ids go through its label table.

An annotation is named by its polygons, or where there are none, by its label ids::

    CITY_000000_000019_gtFine_polygons.json       objects in drawing order, the official source of all others
    CITY_000000_000019_gtFine_labelIds.png        uint8, the official ids 0..33
    CITY_000000_000019_gtFine_instanceIds.png     uint16, 1000 * id + instance, or id where instances are not told apart
    CITY_000000_000019_gtFine_labelTrainIds.png   uint8, the 19 classes 0..18, 255 for what is ignored
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.helpers.labels import assureSingleInstanceName, labels
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from cityscapesscripts.preparation.json2labelImg import createLabelImage
from PIL import Image

from ..atomic import replacing
from ..errors import UserError

IGNORED = 255
POLYGONS, LABEL_IDS = '_polygons.json', '_labelIds.png'
INSTANCE_IDS, TRAIN_IDS = '_instanceIds.png', '_labelTrainIds.png'

# What Pillow raises for a file that is missing, cut short, no image, or declares a monstrous size.
_BAD_IMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
# What json and cityscapesscripts raise for an annotation that is not one.
_BAD_JSON = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError)

# Train id for each uint8 label id, -1 for an unknown id. A train id below 0 (the license plate) is ignored, and so is
# the id -1, which uint8 stores as 255.
TRAIN_ID_TABLE = np.full(256, -1, dtype=np.int16)
for label in labels:
    TRAIN_ID_TABLE[label.id % 256] = label.trainId if 0 <= label.trainId < IGNORED else IGNORED

Size = tuple[int, int]  # (width, height) in pixels


def make_labels(annotation: Path, size: Size | None = None) -> list[Path]:
    """Make the label images that are missing or broken beside an annotation.

    Args:
        annotation: A ``*_polygons.json``: label ids, instance ids and train ids are made from it. Or a
            ``*_labelIds.png``: train ids only, as instances cannot be told from it.
        size: (width, height) in pixels that the annotation must have; ``None`` takes any.

    Returns:
        The files written.

    Raises:
        UserError: Names an annotation that cannot be read, has another size, or has a label that is not official.
    """
    polygons = _read_polygons(annotation) if annotation.name.endswith(POLYGONS) else None
    found = (polygons.imgWidth, polygons.imgHeight) if polygons else image_size(annotation)
    if size not in (None, found):
        raise UserError(f'{annotation}: {found[0]}x{found[1]} pixels, its image has {size[0]}x{size[1]}')
    return _from_polygons(annotation, polygons) if polygons else _from_label_ids(annotation, found)


def image_size(path: Path) -> Size:
    """Read (width, height) in pixels of an image, and check that its bytes are all there (a PNG's checksums)."""
    with _reading(path), Image.open(path) as image:
        image.verify()
        return image.size


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _BAD_IMAGE as error:
        raise UserError(f'{path}: unreadable image ({error})') from None


def _from_polygons(path: Path, annotation: Annotation) -> list[Path]:
    written = []
    try:
        for suffix, encoding in ((LABEL_IDS, 'ids'), (TRAIN_IDS, 'trainIds'), (INSTANCE_IDS, None)):
            target = path.with_name(path.name.removesuffix(POLYGONS) + suffix)
            if _is_whole(target, (annotation.imgWidth, annotation.imgHeight)):
                continue
            if encoding:
                image = createLabelImage(annotation, encoding)
            else:  # Pillow writes no PNG of the 32 bits that this image has now
                image = Image.fromarray(np.asarray(createInstanceImage(annotation, 'ids')).astype(np.uint16))
            with replacing(target) as partial:
                image.save(partial)
            written.append(target)
    except _BAD_JSON as error:
        raise UserError(f'{path}: cannot be drawn ({error})') from None
    return written


def _read_polygons(path: Path) -> Annotation:
    annotation = Annotation()
    try:
        annotation.fromJsonText(path.read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise UserError(f'{path}: broken JSON ({error})') from None
    except _BAD_JSON as error:
        raise UserError(f'{path}: no Cityscapes annotation ({type(error).__name__}: {error})') from None
    if min(annotation.imgWidth, annotation.imgHeight) < 1:
        raise UserError(f'{path}: no Cityscapes annotation (size {annotation.imgWidth}x{annotation.imgHeight})')
    # cityscapesscripts ends the whole process at an unknown label, so they are looked up before.
    unknown = sorted({item.label for item in annotation.objects if assureSingleInstanceName(item.label) is None})
    if unknown:
        raise UserError(f'{path}: unknown label name {", ".join(map(repr, unknown))}')
    return annotation


def _from_label_ids(path: Path, size: Size) -> list[Path]:
    target = path.with_name(path.name.removesuffix(LABEL_IDS) + TRAIN_IDS)
    if _is_whole(target, size):
        return []
    with _reading(path), Image.open(path) as image:
        mode, ids = image.mode, np.asarray(image)
    if mode not in ('L', 'P'):
        raise UserError(f'{path}: label ids are one byte a pixel, this image has mode {mode}')
    train_ids = TRAIN_ID_TABLE[ids]
    if train_ids.min() < 0:
        raise UserError(f'{path}: unknown label id {", ".join(map(str, np.unique(ids[train_ids < 0])))}')
    with replacing(target) as partial:
        Image.fromarray(train_ids.astype(np.uint8)).save(partial)
    return [target]


def _is_whole(path: Path, size: Size) -> bool:
    """Tell whether a label image is there, readable, of the right size and, for train ids, of the right values."""
    try:
        whole = image_size(path) == size
    except UserError:
        return False
    if whole and path.name.endswith(TRAIN_IDS):
        with Image.open(path) as image:
            return image.mode == 'L' and not any(image.histogram()[19:IGNORED])
    return whole
