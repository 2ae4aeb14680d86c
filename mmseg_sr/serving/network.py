"""A segmentor as it is served: a pass over RGB pixels of 0 to 255, normalisation included.

Shape letters: N images, K classes (or one, where a head tells two classes apart by a threshold), (h, w) their size.
"""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ..errors import UserError
from ..models.block import SRBlock
from .portable import PortableBlock


class ServedNetwork(nn.Module):
    """What the data preprocessor and the segmentor do with a whole image: pixels in, logits or labels out.

    Normalisation, the order of the colours and padding are inside, so that nobody has to do them alike elsewhere, and
    bytes are the only thing it takes.

    Args:
        segmentor: One of mmseg's; it is shared, not copied.
        labels: Whether labels (N, h, w) come out, uint8, instead of logits.
        half: Whether the segmentor computes in half precision; it is changed in place. Logits are float32 as ever.
    """

    def __init__(self, segmentor: nn.Module, labels: bool = False, half: bool = False):
        super().__init__()
        preprocessor = segmentor.data_preprocessor
        self.padding = dict(preprocessor.test_cfg or {})
        self.pad_val = preprocessor.pad_val
        # The network takes RGB; one that was trained on OpenCV's order turns it.
        self.turned = not preprocessor._channel_conversion
        if preprocessor._enable_normalize:
            self.register_buffer('mean', preprocessor.mean.detach().clone()[None])  # (1, 3, 1, 1)
            self.register_buffer('std', preprocessor.std.detach().clone()[None])
        else:
            self.mean = self.std = None
        self.labels = labels
        self.threshold = threshold_of(segmentor)
        self.dtype = torch.float16 if half else torch.float32
        self.segmentor = segmentor.half() if half else segmentor
        for block in self.modules():
            if isinstance(block, PortableBlock):
                block.gate.float()

    def forward(self, images: Tensor) -> Tensor:
        """RGB pixels (N, 3, h, w), uint8, to logits (N, K, h, w), float32, or labels (N, h, w), uint8."""
        x = images.float()
        if self.turned:
            x = x.flip(1)
        if self.mean is not None:
            x = (x - self.mean) / self.std
        x = self._pad(x).to(self.dtype)
        size = x.shape[-2:]
        logits = self.segmentor.encode_decode(x, [dict(img_shape=size, ori_shape=size, pad_shape=size)])
        logits = logits[..., : images.shape[-2], : images.shape[-1]].float()
        return labels_of(logits, self.threshold) if self.labels else logits

    def _pad(self, x: Tensor) -> Tensor:
        """Pad right and below as the preprocessor does in a test."""
        height, width = x.shape[-2:]
        if self.padding.get('size') is not None:
            below, right = (
                max(wanted - side, 0) for wanted, side in zip(self.padding['size'], (height, width), strict=True)
            )
        elif (self.padding.get('size_divisor') or 1) > 1:
            below, right = (-side % self.padding['size_divisor'] for side in (height, width))
        else:
            return x
        return F.pad(x, (0, right, 0, below), value=self.pad_val)


def labels_of(logits: Tensor, threshold: float | None) -> Tensor:
    """Labels (N, h, w), uint8, of logits (N, K, h, w); those of one channel are held against a threshold.

    Example:
        >>> labels_of(torch.tensor([[-1.0, 2.0], [0.0, 0.0]]).view(1, 2, 1, 2), None).tolist()
        [[[1, 0]]]
    """
    if logits.shape[1] == 1:
        return (logits[:, 0].sigmoid() > threshold).to(torch.uint8)
    return logits.argmax(1).to(torch.uint8)


def threshold_of(segmentor: nn.Module) -> float | None:
    """The probability from which the one channel of a segmentor means its second class; None with more channels."""
    if segmentor.out_channels > 1:
        return None
    heads = segmentor.decode_head
    return float((heads[-1] if isinstance(heads, nn.ModuleList) else heads).threshold)


@contextlib.contextmanager
def in_whole(segmentor: nn.Module) -> Iterator[None]:
    """Let a segmentor take images as a whole, whatever its config says, inside the ``with`` block."""
    kept = segmentor.test_cfg
    try:
        segmentor.test_cfg = ConfigDict(mode='whole')
        yield
    finally:
        segmentor.test_cfg = kept


def map_sizes(network: ServedNetwork, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """The sizes (h, w) of the maps that the SR blocks of a network get for an image of ``size``, by name.

    Raises:
        UserError: Where a block cannot take its map: it has ``resize=False``.
    """
    sizes: dict[str, tuple[int, int]] = {}
    handles = [
        block.register_forward_pre_hook(lambda block, args, name=name: sizes.update({name: tuple(args[0].shape[-2:])}))
        for name, block in network.segmentor.named_modules()
        if isinstance(block, SRBlock)
    ]
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, *size, dtype=torch.uint8, device=device))
    except (RuntimeError, ValueError) as error:
        raise UserError(f'the network cannot take an image of {size[0]}x{size[1]} (height x width): {error}') from error
    finally:
        for handle in handles:
            handle.remove()
    return sizes
