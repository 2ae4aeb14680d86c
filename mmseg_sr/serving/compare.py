"""Does an exported network compute what mmseg computes? Compared on pictures, size by size."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..mini_cityscapes.generate import draw_scene
from ..mini_cityscapes.painting import paint
from ..mini_cityscapes.world import Camera, city_style
from .network import in_whole, labels_of, threshold_of

DIFFERENCE = {'float32': 1e-3, 'float16': 5e-2}  # of the largest logit
AGREEMENT = {'float32': 0.999, 'float16': 0.95}  # of the pixels, where labels are all there is


def compare(
    run: Callable[[np.ndarray], Tensor],
    segmentor: nn.Module,
    pictures: Sequence[np.ndarray],
    size: tuple[int, int],
    precision: str = 'float32',
) -> dict:
    """Compare an exported network with the segmentor that it was made from.

    Args:
        run: Images (N, 3, h, w), uint8, to logits or labels.
        segmentor: One of mmseg's, whose own data preprocessor and inference are the reference.
        pictures: RGB pictures (H, W, 3), which are resized to ``size``.
        size: (height, width).
        precision: Of the exported network.

    Returns:
        ``size``, ``pictures`` (their number), ``agreement`` (share of pixels with the same label), ``max_difference``
        of the logits and ``max_logit`` (None where labels come out), and ``passed``.
    """
    images = [cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR) for picture in pictures]
    equal, difference, largest = [], 0.0, 0.0
    with_logits = True
    for image in images:
        expected = reference(segmentor, image)
        threshold = threshold_of(segmentor)
        got = run(np.ascontiguousarray(image.transpose(2, 0, 1))[None])
        with_logits = got.dim() == 4
        if with_logits:
            # Not max(): it would pass over a NaN.
            difference = float(np.maximum(difference, (got - expected).abs().max().item()))
            largest = max(largest, expected.abs().max().item())
            got = labels_of(got, threshold)
        equal.append((got == labels_of(expected, threshold)).double().mean().item())
    agreement = float(np.mean(equal))
    passed = difference <= DIFFERENCE[precision] * largest if with_logits else agreement >= AGREEMENT[precision]
    return {
        'size': list(size),
        'pictures': len(images),
        'agreement': agreement,
        'max_difference': difference if with_logits else None,
        'max_logit': largest if with_logits else None,
        'passed': bool(passed),
    }


@torch.no_grad()
def reference(segmentor: nn.Module, image: np.ndarray) -> Tensor:
    """Logits (1, K, h, w), on the CPU, that mmseg makes of an RGB image (h, w, 3) of 8 bits, as OpenCV reads it."""
    height, width = size = image.shape[:2]
    inputs = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    data = segmentor.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]), False)
    with in_whole(segmentor):
        logits = segmentor.inference(data['inputs'], [each.metainfo for each in data['data_samples']])
    return logits[..., :height, :width].cpu()  # without padding


def drawn_picture(size: tuple[int, int] = (256, 512), seed: int = 0) -> np.ndarray:
    """A drawn street, RGB (h, w, 3), where no other picture is at hand.

    Example:
        >>> drawn_picture((64, 128)).shape
        (64, 128, 3)
    """
    rng = np.random.default_rng(seed)
    style = city_style(rng)
    frame = size[::-1]
    camera = Camera(*frame, horizon=0.42 * size[0], aside=0.25 * style.road)
    return np.asarray(paint(draw_scene(camera, style, rng), frame, style, rng))
