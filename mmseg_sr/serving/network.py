"""A segmentor of mmseg or a classifier of mmpretrain as it is served: RGB pixels in, logits or labels out.

Shape letters: N images, K classes (or one, where a head tells two classes apart by a threshold), (h, w) their size.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..errors import UserError


class Host(NamedTuple):
    """How a library prepares images in a test, what its networks make of these (N, 3, h, w), and both.

    The ``preparation`` of a data preprocessor is whether it takes RGB, the ``size`` or ``size_divisor``, if any, that
    images are padded to, and with what. The ``reference`` takes one image as OpenCV has it (3, h, w). Logits are
    (N, K, h, w) of a segmentor, (N, K) of a classifier.
    """

    preparation: Callable[[nn.Module], tuple[bool, dict, float]]
    logits: Callable[[nn.Module, Tensor], Tensor]
    reference: Callable[[nn.Module, Tensor], Tensor]


def _mmsegs(given: nn.Module) -> tuple[bool, dict, float]:
    return given._channel_conversion, given.test_cfg or {}, given.pad_val


def _mmpretrains(given: nn.Module) -> tuple[bool, dict, float]:
    return given.to_rgb, dict(size_divisor=given.pad_size_divisor), given.pad_value


def _map_logits(segmentor: nn.Module, x: Tensor) -> Tensor:
    size = x.shape[-2:]
    return segmentor.encode_decode(x, [dict(img_shape=size, ori_shape=size, pad_shape=size)])


@torch.no_grad()
def _by_mmseg(segmentor: nn.Module, inputs: Tensor) -> Tensor:
    height, width = size = tuple(inputs.shape[1:])
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    data = segmentor.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]), False)
    logits = segmentor.whole_inference(data['inputs'], [each.metainfo for each in data['data_samples']])
    return logits[..., :height, :width]  # without padding


def _class_logits(classifier: nn.Module, x: Tensor) -> Tensor:
    return classifier(x, mode='tensor')


@torch.no_grad()
def _by_mmpretrain(classifier: nn.Module, inputs: Tensor) -> Tensor:
    return classifier(classifier.data_preprocessor(dict(inputs=[inputs]))['inputs'], mode='tensor')


HOSTS = {
    'segmentation': Host(_mmsegs, _map_logits, _by_mmseg),
    'classification': Host(_mmpretrains, _class_logits, _by_mmpretrain),
}


def served_task(model: nn.Module) -> str:
    """Find the key in :data:`HOSTS` of a segmentor or a classifier; any other model is a ``UserError``."""
    if hasattr(model, 'encode_decode') and hasattr(model, 'out_channels'):
        return 'segmentation'
    if _gives_one_class(model):
        return 'classification'
    raise UserError(f'{type(model).__name__} is no segmentor and no classifier of one class an image: not served')


def _gives_one_class(model: nn.Module) -> bool:
    """Tell whether a classifier's scores are mmpretrain's softmax of what its head gives."""
    head = getattr(model, 'head', None)
    if not hasattr(head, 'num_classes'):
        return False
    from mmpretrain.models import ClsDataPreprocessor, ClsHead, ImageClassifier  # there where there is a classifier

    stock = getattr(type(head), '_get_predictions', None) is ClsHead._get_predictions
    return stock and isinstance(model, ImageClassifier) and type(model.data_preprocessor) is ClsDataPreprocessor


class ServedNetwork(nn.Module):
    """Do what data preprocessor and network do with a whole image: normalisation, colours and padding are inside.

    The segmentor or classifier is shared, not copied; where ``half``, it is turned to half precision in place.
    """

    def __init__(self, model: nn.Module, labels: bool = False, half: bool = False):
        super().__init__()
        self.task, preprocessor = served_task(model), model.data_preprocessor
        to_rgb, padding, self.pad_val = HOSTS[self.task].preparation(preprocessor)
        self.padding = {key: padding[key] for key in ('size', 'size_divisor') if padding.get(key) not in (None, 1)}
        self.turned = not to_rgb  # trained on OpenCV's order of colours
        for name in ('mean', 'std'):  # (1, 3, 1, 1)
            value = getattr(preprocessor, name)[None].clone() if preprocessor._enable_normalize else None
            self.register_buffer(name, value)
        self.labels, self.threshold = labels, threshold_of(model)
        self.dtype = torch.float16 if half else torch.float32
        self.network = model.to(self.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """RGB pixels (N, 3, h, w), uint8, to logits, float32, or labels: (N, K, h, w) or (N, h, w), (N, K) or (N,)."""
        x = images.float()
        if self.turned:
            x = x.flip(1)
        if self.mean is not None:
            x = (x - self.mean) / self.std
        logits = HOSTS[self.task].logits(self.network, self._pad(x).to(self.dtype)).float()
        if logits.dim() == 4:
            logits = logits[..., : images.shape[-2], : images.shape[-1]]
        return labels_of(logits, self.threshold) if self.labels else logits

    def _pad(self, x: Tensor) -> Tensor:
        """Pad right and below as the preprocessor does in a test."""
        if not self.padding:
            return x
        size, divisor = self.padding.get('size'), self.padding.get('size_divisor')
        wanted = size or [side + -side % divisor for side in x.shape[-2:]]
        below, right = (max(most - side, 0) for most, side in zip(wanted, x.shape[-2:], strict=True))
        return F.pad(x, (0, right, 0, below), value=self.pad_val)


def threshold_of(model: nn.Module) -> float | None:
    """Get the probability from which the one channel of a segmentor means its second class; None with more channels."""
    if getattr(model, 'out_channels', 2) > 1:
        return None
    heads = model.decode_head
    return float((heads[-1] if isinstance(heads, nn.ModuleList) else heads).threshold)


def labels_of(logits: Tensor, threshold: float | None) -> Tensor:
    """Make labels (N, ...) of logits (N, K, ...), one byte each where that will do; one channel has a threshold.

    Example:
        >>> labels_of(torch.tensor([[-1.0, 2.0], [0.0, 0.0]]).view(1, 2, 1, 2), None).tolist()
        [[[1, 0]]]
    """
    if logits.shape[1] == 1:
        return (logits[:, 0].sigmoid() > threshold).to(torch.uint8)
    return logits.argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int64)
