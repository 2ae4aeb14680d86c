"""Read the classes of data, compare those of a config's heads with them, and draw which colour means which."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from PIL import Image, ImageDraw, ImageFont

from ..atomic import replacing
from ..kinds import is_kind, kind_of

STRICT = ('CrossEntropyLoss', 'OhemCrossEntropy')  # losses that take no label beyond their classes
LEGEND = 'legend.png'
LINE, ROWS = 22, 25  # pixels of a line of a legend; lines of a column


def model_part(cfg: Config, name: str) -> dict | list:
    """Read a part of a config's model, such as 'backbone'; {} where it has none."""
    model = cfg.get('model') or {}
    return model.get('module', model).get(name) or {}  # test-time augmentation wraps the model


def labels_of(cfg: Config) -> tuple[int | None, int]:
    """Read from a config the number of classes of its model, None where it does not say, and the id that it ignores.

    Example:
        >>> labels_of(Config(dict(model=dict(decode_head=dict(num_classes=19)))))
        (19, 255)
    """
    head = model_part(cfg, 'decode_head') or model_part(cfg, 'head')  # the last is a classifier's
    head = head[-1] if isinstance(head, (list, tuple)) else head
    return head.get('num_classes'), head.get('ignore_index', 255)


def heads_of(cfg: Config) -> dict[str, int]:
    """Read from a config how many classes the heads have that are trained on the labels as they are, by name.

    The head that predicts is one. Others may make targets of their own of the labels, or take any.
    """
    heads = {}
    for name in ('decode_head', 'auxiliary_head', 'head'):  # the last is a classifier's
        found = model_part(cfg, name) or []
        found = found if isinstance(found, (list, tuple)) else [found]
        for head in found:
            predicts = name != 'auxiliary_head' and head is found[-1]
            if head.get('num_classes') and (predicts or _is_strict(head)):
                heads[name] = min(head['num_classes'], heads.get(name, head['num_classes']))
    return heads


def listed(dataset_meta: dict) -> dict[str, list]:
    """Take classes and palette, where there are any, as lists: metainfo may have tuples and arrays."""
    found = {key: dataset_meta[key] for key in ('classes', 'palette') if dataset_meta.get(key) is not None}
    return {key: np.asarray(value).tolist() for key, value in found.items() if len(value)}


def class_notes(cfg: Config, dataset: BaseDataset) -> tuple[str, ...]:
    """Say where a head has other classes than a dataset."""
    count = len(listed(getattr(dataset, 'metainfo', {})).get('classes', []))
    notes = []
    for name, classes in heads_of(cfg).items() if count else ():
        if classes != count:
            result = 'it never sees the others' if classes > count else f'label {classes} is too high for it'
            notes.append(f'model.{name} has {classes} classes and the data {count}: {result}')
    return tuple(notes)


def odd_line(dataset: dict) -> str:
    """Say which line of a classifier's list of images, which a config's dataset names, is wrong; '' where none is."""
    path = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '').expanduser()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
            if not re.fullmatch(r'.+ -?\d+', line.strip()):
                return f'line {number} of {path} must be the path of an image and the number of its class, is {line!r}'
    return ''


def _is_strict(head: dict) -> bool:
    losses = head.get('loss_decode') or dict(type=STRICT[0])
    losses = losses if isinstance(losses, (list, tuple)) else [losses]
    stock = getattr(kind_of(head, 'MODELS'), 'loss_by_feat', None) is BaseDecodeHead.loss_by_feat
    return stock and any(is_kind(loss, 'MODELS', *STRICT) for loss in losses)


def write_legend(folder: Path, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> None:
    """Write ``legend.png`` into a folder."""
    with replacing(folder / LEGEND) as partial:
        draw_legend(classes, palette).save(partial, 'png')


def draw_legend(classes: Sequence[str], palette: Sequence[Sequence[int]]) -> Image.Image:
    """Draw a line for each class, its colour before its name; many classes have several columns.

    Example:
        >>> draw_legend(['road', 'car'], [[128, 64, 128], [0, 0, 142]]).getpixel((12, 12))
        (128, 64, 128)
    """
    font = ImageFont.load_default(14)
    width = int(max(map(font.getlength, classes))) + 44
    size = (width * -(-len(classes) // ROWS), LINE * min(len(classes), ROWS) + 8)
    picture = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(picture)
    shades = np.broadcast_to(palette, (len(palette), 3)).tolist()  # some palettes have greys only
    for index, (name, colour) in enumerate(zip(classes, shades, strict=False)):
        column, row = divmod(index, ROWS)
        x, y = column * width + 8, row * LINE + 6
        draw.rectangle((x, y, x + 16, y + 16), tuple(colour), 'black')
        draw.text((x + 24, y + 8), name, 'black', font, anchor='lm')
    return picture
