"""Follow where in the scene the pixels of an image lie: known to the crop, carried as two more channels.

The scene is the image as it was loaded. A *box* says which part of it a view shows: where the view's top, bottom, left
and right edges lie, from 0 to 1; mirrored, bottom comes before top or right before left.

Shape letters: N images, (h, w) their size after padding.
"""

from collections.abc import Mapping, Sequence

import torch
from mmseg.datasets.transforms import PackSegInputs, RandomCrop
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS, TRANSFORMS
from torch import Tensor

from ..errors import UserError

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 1.0, 0.0, 1.0)


@TRANSFORMS.register_module()
class SceneRandomCrop(RandomCrop):
    """Crop as mmseg's RandomCrop, and say where the crop lies in the image as it was loaded.

    It adds ``scene_box``. Resizing does not change that, further crops do. Flips, before or after, are not in it:
    ``flip`` tells of them. :class:`PackSceneInputs` hands both on.

    It takes mmseg's arguments.

    Example:
        >>> import numpy as np
        >>> results = dict(img=np.zeros((6, 4, 3), np.uint8), gt_seg_map=np.zeros((6, 4), np.uint8))
        >>> SceneRandomCrop(crop_size=(6, 4))(results)['scene_box']
        (0.0, 1.0, 0.0, 1.0)
    """

    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Choose a crop as mmseg does, and note where it lies."""
        crop = super().crop_bbox(results)
        height, width = results['img'].shape[:2]
        edges = [min(edge / side, 1.0) for edge, side in zip(crop, (height, height, width, width), strict=True)]
        sides = zip(_spans(results.get('scene_box', WHOLE)), _spans(edges), _flips(results), strict=True)
        box = []
        for (first, last), (start, end), flipped in sides:
            if flipped:  # what is cropped then lies mirrored in the scene, and will be mirrored again where flips count
                start, end = 1 - end, 1 - start
            box += [first + start * (last - first), first + end * (last - first)]
        results['scene_box'] = tuple(box)
        return crop


@TRANSFORMS.register_module()
class PackSceneInputs(PackSegInputs):
    """Pack as mmseg's PackSegInputs, and hand on where a crop lies in the scene and how it was flipped.

    It takes mmseg's arguments.

    Example:
        >>> packed = PackSceneInputs(meta_keys=())(dict(scene_box=(0.0, 0.5, 0.0, 0.5)))
        >>> packed['data_samples'].scene_box
        (0.0, 0.5, 0.0, 0.5)
    """

    def transform(self, results: dict) -> dict:
        """Pack an image as mmseg does."""
        packed = super().transform(results)
        known = {key: results[key] for key in ('scene_box', 'flip', 'flip_direction') if key in results}
        packed['data_samples'].set_metainfo(known)
        return packed


@MODELS.register_module()
class SceneDataPreProcessor(SegDataPreProcessor):
    """Add to the images of mmseg's data preprocessor the height and the width of each pixel in the scene.

    The scene's upper left corner is (-1, -1), its lower right one (1, 1). The two channels go where the pixels go: a
    window of slide mode is cut out of them too. A flipped view has them flipped; in padding they go on. In a training
    each image must say which box of the scene it shows, as :class:`SceneRandomCrop` does; in a test it shows the
    whole scene, unless it says otherwise. For ``SRBackbone(..., scene=True)``, which takes them off again.

    It takes mmseg's arguments.

    Raises:
        UserError: In a training, for an image without ``scene_box``.

    Example:
        >>> preprocessor = SceneDataPreProcessor()
        >>> preprocessor(dict(inputs=[torch.zeros(3, 2, 4)]))['inputs'][0, 4]
        tensor([[-0.7500, -0.2500,  0.2500,  0.7500],
                [-0.7500, -0.2500,  0.2500,  0.7500]])
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Process a batch as mmseg does, to ``inputs`` (N, 3 + 2, h, w)."""
        sizes = [tuple(image.shape[-2:]) for image in data['inputs']]  # before padding
        data = super().forward(data, training)
        images, samples = data['inputs'], data['data_samples'] or [None] * len(sizes)
        boxes = [_box_of(sample.metainfo if sample is not None else {}, training) for sample in samples]
        padded = tuple(images.shape[-2:])
        places = [place_of(box, size, padded) for box, size in zip(boxes, sizes, strict=True)]
        data['inputs'] = torch.cat([images, torch.stack(places).to(images)], dim=1)
        return data


def place_of(box: Box, size: tuple[int, int], padded: tuple[int, int]) -> Tensor:
    """Compute where each pixel of a view lies in the scene.

    Args:
        box: Which part of the scene it shows.
        size: (height, width) of the view.
        padded: (h, w), the same with padding below and on the right.

    Returns:
        Height and width of the pixels' centres (2, h, w), from -1 to 1 in the scene, and beyond.

    Example:
        >>> place_of((0, 1, 0.5, 1), size=(1, 2), padded=(1, 3))[1]
        tensor([[0.2500, 0.7500, 1.2500]])
    """
    lines = []
    for (start, end), side, count in zip(_spans(box), size, padded, strict=True):
        centres = (torch.arange(count, dtype=torch.float64) + 0.5) / side
        lines.append((2 * (start + (end - start) * centres) - 1).float())
    return torch.stack(torch.meshgrid(*lines, indexing='ij'))


def _box_of(known: Mapping, training: bool) -> Box:
    if training and 'scene_box' not in known:
        raise UserError(
            "an image does not say which part of the scene it shows: crop by type='SceneRandomCrop' and pack by "
            "type='PackSceneInputs'"
        )
    sides = zip(_spans(known.get('scene_box', WHOLE)), _flips(known), strict=True)
    (top, bottom), (left, right) = (span[::-1] if flipped else span for span, flipped in sides)
    return top, bottom, left, right


def _flips(known: Mapping) -> tuple[bool, bool]:
    """Whether an image is flipped from top to bottom, and from left to right."""
    direction = known.get('flip_direction') if known.get('flip') else None
    return direction in ('vertical', 'diagonal'), direction in ('horizontal', 'diagonal')


def _spans(box: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    return box[:2], box[2:]
