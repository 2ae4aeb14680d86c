"""Predict a picture with a network whose memory is scaled, with the same network as trained, and with its baseline.

Shape letters: P memory blocks of an SR block, (height, width) size of the picture.
"""

import contextlib
import math
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray
from PIL import Image

from mmseg_sr.datasets.build import load_images
from mmseg_sr.errors import UserError
from mmseg_sr.memory.interventions import scaling
from mmseg_sr.memory.observe import Seen, observe
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.report.gallery import Network
from mmseg_sr.runs.models import class_names, load_model, load_sr_model

MAX_SCALE = 2


@dataclass
class Tried:
    """The results for a picture (height, width, 3): a class for each pixel by the baseline, if there is one, and what
    :func:`mmseg_sr.memory.observe.observe` finds with the memory as trained and scaled."""

    image: NDArray[np.uint8]
    baseline: NDArray | None
    trained: Seen
    scaled: Seen


class Trial:
    """Try pictures on a network with SR blocks, and on its baseline; from several threads, one after another.

    Nothing of a trial stays in the network, also after an exception.

    Raises:
        UserError: For a network without memory, files that do not fit, or a baseline of other classes.
    """

    def __init__(self, network: Network, baseline: Network | None = None):
        self.network, self.baseline = network, baseline
        self.model = load_sr_model(network.cfg, network.checkpoint)
        self.blocks = {name: block.num_memories for name, block in sr_blocks(self.model).items()}
        self.classes, self.palette = class_names(self.model)
        self._baseline_model = load_model(baseline.cfg, baseline.checkpoint) if baseline else None
        if baseline and self._baseline_model.out_channels != self.model.out_channels:
            counts = self._baseline_model.out_channels, self.model.out_channels
            raise UserError('the baseline has {} classes and the network {}'.format(*counts))
        self._lock = threading.Lock()
        self._last: Tried | None = None  # moving a slider asks for the same picture again

    def scales(self, values: Sequence[float]) -> dict[str, list[float]]:
        """Share out one number a memory block, in the order of the network, to its SR blocks.

        Raises:
            UserError: For another number of them, or one that is not in 0 .. ``MAX_SCALE``.
        """
        if len(values) != sum(self.blocks.values()):
            raise UserError(f'The network has {sum(self.blocks.values())} memory blocks, not {len(values)}.')
        if not all(math.isfinite(value) and 0 <= value <= MAX_SCALE for value in values):
            raise UserError(f'A memory block is scaled by 0 to {MAX_SCALE}.')
        rest = iter(values)
        return {name: [next(rest) for _ in range(count)] for name, count in self.blocks.items()}

    def __call__(self, image: NDArray[np.uint8], scales: Mapping[str, Sequence[float]]) -> Tried:
        """Predict a picture (height, width, 3) with each SR block's memory blocks scaled by P numbers."""
        with self._lock:
            if self._last is None or not np.array_equal(self._last.image, image):
                trained = observe(self.model, _sample(self.network, image), ablate=False)
                self._last = Tried(image, self._predict_baseline(image), trained, trained)
            known = self._last
            if all(scale == 1 for values in scales.values() for scale in values):
                return known
            with contextlib.ExitStack() as stack:
                for name, block in sr_blocks(self.model).items():
                    stack.enter_context(scaling(block, torch.tensor(scales[name])))
                scaled = observe(self.model, _sample(self.network, image), ablate=False)
            return Tried(image, known.baseline, known.trained, scaled)

    @torch.no_grad()
    def _predict_baseline(self, image: NDArray[np.uint8]) -> NDArray | None:
        if self._baseline_model is None:
            return None
        (result,) = self._baseline_model.test_step(pseudo_collate([_sample(self.baseline, image)]))
        return result.pred_sem_seg.data[0].cpu().numpy()


def _sample(network: Network, image: NDArray[np.uint8]) -> dict:
    """A picture as the network's tests read it: from a file, named here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'picture.png'
        Image.fromarray(image).save(path, compress_level=1)
        (sample,) = load_images(network.cfg, [path])
    return sample
