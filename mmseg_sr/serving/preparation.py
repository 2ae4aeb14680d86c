"""From a picture to what the network takes: the resizing steps of a config's test pipeline, by the stock transforms."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmcv.transforms import Resize
from mmseg.datasets.transforms import ResizeToMultiple

from ..errors import UserError, blame, one_line

# A file may name these; other names could be anything that can be imported.
STEPS = {'Resize': Resize, 'ResizeToMultiple': ResizeToMultiple}
AROUND = ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')
PLAIN_LOADING = {'to_float32', 'ignore_empty', 'backend_args', 'file_client_args'}  # change no pixel


def resizing_steps(pipeline: Sequence[dict]) -> list[dict]:
    """The steps of a test pipeline between loading and packing.

    Raises:
        UserError: For a step that is done here in no other place than a test.

    Example:
        >>> resizing_steps([dict(type='LoadImageFromFile'), dict(type='Resize', scale=(8, 4))])
        [{'type': 'Resize', 'scale': (8, 4)}]
    """
    steps = []
    for step in pipeline:
        kind = getattr(step['type'], '__name__', step['type']).split('.')[-1]
        odd = set(step) - PLAIN_LOADING - {'type'} if kind == 'LoadImageFromFile' else set()
        if kind not in (*STEPS, *AROUND) or odd:
            raise UserError(
                f'the test pipeline has {dict(step)}, and what is served knows {", ".join((*AROUND, *STEPS))} without '
                'other ways of loading: change it by --cfg-options, or do that step before'
            )
        if kind in STEPS:
            steps.append({**step, 'type': kind})
    return steps


class Preparation:
    """Resizing as in a test.

    Args:
        steps: What :func:`resizing_steps` gave, also after JSON, which makes lists of tuples.

    Raises:
        UserError: For steps that are none.

    Example:
        >>> Preparation([dict(type='Resize', scale=[8, 4], keep_ratio=True)])(np.zeros((8, 8, 3), np.uint8)).shape
        (4, 4, 3)
    """

    def __init__(self, steps: Sequence[dict]):
        with blame('set up the resizing'):
            self.steps = [
                STEPS[step['type']](**{key: _tuples(value) for key, value in step.items() if key != 'type'})
                for step in steps
            ]

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) to the image (h, w, 3) that the network gets."""
        sample = {'img': picture, 'img_shape': picture.shape[:2]}
        for step in self.steps:
            sample = step(sample)
        return sample['img']


def read_picture(path: Path) -> np.ndarray:
    """Read an image file as a test does: RGB (H, W, 3), uint8, upright.

    Raises:
        UserError: Names the file that is no image.
    """
    try:
        picture = mmcv.imread(str(path), channel_order='rgb')
    except OSError as error:
        raise UserError(f'cannot read the image {path}: {one_line(error)}') from error
    except Exception:  # each library that decodes has its own
        picture = None
    if picture is None:
        raise UserError(f'cannot read the image {path}: it is damaged, or none')
    return picture


def _tuples(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
