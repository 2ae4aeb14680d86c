"""Say how mmseg's segmentors and mmpretrain's classifiers are asked for logits: as served, and as their hosts do it.

Shape letters: N images, K classes (or one, where a head tells two classes apart by a threshold), (h, w) their size.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..errors import UserError


class Host(NamedTuple):
    """How a library prepares images in a test, what its networks make of these (N, 3, h, w), and both.

    The ``reference`` takes one image as OpenCV has it (3, h, w). Logits are (N, K, h, w) of a segmentor, (N, K) of a
    classifier.
    """

    preparation: Callable[[nn.Module], tuple[bool, dict, float]]  # of a data preprocessor
    logits: Callable[[nn.Module, Tensor], Tensor]
    reference: Callable[[nn.Module, Tensor], Tensor]


class Preparation(NamedTuple):
    """Whether a network takes RGB, and to what ``size`` or ``size_divisor``, if any, images are padded, with what."""

    to_rgb: bool
    padding: dict
    value: float


def served_task(model: nn.Module) -> str:
    """Find the key in :data:`HOSTS` of a segmentor or a classifier; any other model is a ``UserError``."""
    if hasattr(model, 'encode_decode') and hasattr(model, 'out_channels'):
        return 'segmentation'
    if _gives_one_class(model):
        return 'classification'
    raise UserError(f'{type(model).__name__} is no segmentor and no classifier of one class an image: not served')


def preparation_of(model: nn.Module) -> Preparation:
    """Read what the data preprocessor of a model does in a test, beside its normalisation."""
    to_rgb, padding, value = HOSTS[served_task(model)].preparation(model.data_preprocessor)
    padding = {key: padding[key] for key in ('size', 'size_divisor') if padding.get(key) not in (None, 1)}
    return Preparation(to_rgb, padding, value)


def _gives_one_class(model: nn.Module) -> bool:
    """Tell whether a classifier's scores are mmpretrain's softmax of what its head gives."""
    head = getattr(model, 'head', None)
    if not hasattr(head, 'num_classes'):
        return False
    from mmpretrain.models import ClsDataPreprocessor, ClsHead, ImageClassifier  # there where there is a classifier

    stock = getattr(type(head), '_get_predictions', None) is ClsHead._get_predictions
    return stock and isinstance(model, ImageClassifier) and type(model.data_preprocessor) is ClsDataPreprocessor


def _mmsegs(given: nn.Module) -> tuple[bool, dict, float]:
    return given._channel_conversion, given.test_cfg or {}, given.pad_val


def _mmpretrains(given: nn.Module) -> tuple[bool, dict, float]:
    return given.to_rgb, dict(size_divisor=given.pad_size_divisor), given.pad_value


def _map_logits(segmentor: nn.Module, x: Tensor) -> Tensor:
    size = x.shape[-2:]
    return segmentor.encode_decode(x, [dict(img_shape=size, ori_shape=size, pad_shape=size)])


def _by_mmseg(segmentor: nn.Module, inputs: Tensor) -> Tensor:
    height, width = size = tuple(inputs.shape[1:])
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    data = segmentor.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]), False)
    logits = segmentor.whole_inference(data['inputs'], [each.metainfo for each in data['data_samples']])
    return logits[..., :height, :width]  # without padding


def _class_logits(classifier: nn.Module, x: Tensor) -> Tensor:
    return classifier(x, mode='tensor')


def _by_mmpretrain(classifier: nn.Module, inputs: Tensor) -> Tensor:
    return classifier(classifier.data_preprocessor(dict(inputs=[inputs]))['inputs'], mode='tensor')


HOSTS = {
    'segmentation': Host(_mmsegs, _map_logits, torch.no_grad()(_by_mmseg)),
    'classification': Host(_mmpretrains, _class_logits, torch.no_grad()(_by_mmpretrain)),
}
