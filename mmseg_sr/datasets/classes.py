"""Read the classes of data, and compare those of a config's heads with them."""

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from ..kinds import is_kind, kind_of

STRICT = ('CrossEntropyLoss', 'OhemCrossEntropy')  # losses that take no label beyond their classes


def heads_of(cfg: Config) -> dict[str, int]:
    """Read from a config how many classes the heads have that are trained on the labels as they are, by name.

    The head that predicts is one. Others may make targets of their own of the labels, or take any.
    """
    model = cfg.get('model') or {}
    model = model.get('module', model)
    heads = {}
    for name in ('decode_head', 'auxiliary_head', 'head'):  # the last is a classifier's
        found = model.get(name) or []
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


def _is_strict(head: dict) -> bool:
    losses = head.get('loss_decode') or dict(type=STRICT[0])
    losses = losses if isinstance(losses, (list, tuple)) else [losses]
    stock = getattr(kind_of(head, 'MODELS'), 'loss_by_feat', None) is BaseDecodeHead.loss_by_feat
    return stock and any(is_kind(loss, 'MODELS', *STRICT) for loss in losses)
