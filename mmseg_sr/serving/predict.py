"""Predict what is in pictures with any network: label maps, whole or in windows, or the most likely classes.

Networks are run by PyTorch or by onnxruntime: (N, 3, h, w), uint8, to logits or labels, on the CPU.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError, blame, one_line
from ..installed import source
from ..memory.windows import spans
from ..metrics.accuracy import TOP
from .metadata import STEPS, Metadata
from .network import labels_of

PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')
Run = Callable[[np.ndarray], Tensor]  # images (N, 3, h, w), uint8, to logits or labels
Sides = Sequence[int]  # (height, width)


class TorchRuntime:
    """Run a network, in evaluation mode and on any device, by PyTorch."""

    def __init__(self, network: nn.Module, metadata: Metadata):
        self.network, self.metadata = network, metadata
        self.device = next(network.parameters()).device

    def __call__(self, images: np.ndarray) -> Tensor:
        """Logits or labels, on the CPU, for images (N, 3, h, w), uint8."""
        with torch.inference_mode():
            return self.network(torch.from_numpy(images).to(self.device)).cpu()


class OnnxRuntime:
    """Run an ONNX file of ``tools/export.py`` by onnxruntime, with as many threads as torch has."""

    def __init__(self, path: Path):
        require('onnxruntime')
        import onnxruntime

        if not Path(path).is_file():
            raise UserError(f'no such model: {path}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime has a dozen kinds
            raise UserError(f'{path} is no ONNX model that onnxruntime can run: {one_line(error)[:300]}') from error
        self.metadata = Metadata.from_texts(self.session.get_modelmeta().custom_metadata_map, path)
        self.input = self.session.get_inputs()[0].name

    def __call__(self, images: np.ndarray) -> Tensor:
        """Logits or labels for images (N, 3, h, w), uint8."""
        (output,) = self.session.run(None, {self.input: np.ascontiguousarray(images)})
        return torch.from_numpy(output)


def require(*packages: str) -> None:
    """Refuse what needs packages that are not installed."""
    for package in packages:
        try:
            __import__(package)
        except ImportError as error:
            raise UserError(f'{package} is not installed: pip install "{source()}[export]"') from error


class Predictor:
    """Predict label maps of pictures, or where the network is a classifier the most likely classes.

    Args:
        run: A network that has ``metadata``, as :class:`OnnxRuntime`.
        mode: 'whole' or 'slide'; None for what its metadata say.
        window: (height, width) in slide mode; None for the size of a network of one size, or what its metadata say.
        stride: From one window to the next; None for what its metadata say, or half a window.
    """

    def __init__(self, run: Run, mode: str | None = None, window: Sides | None = None, stride: Sides | None = None):
        self.run, self.metadata = run, run.metadata
        self.mode = mode or self.metadata.mode
        self.steps = _transforms(self.metadata.steps)
        self.window = self.stride = None
        if self.mode == 'slide':
            self.window, self.stride = _windows_of(self.metadata, window, stride)
        elif window or stride:
            raise UserError('windows and strides belong to mode slide')
        if self.metadata.task == 'classification' and self.metadata.output == 'labels':
            raise UserError('the network gives labels, and no scores: export with --output logits')

    def prepared(self, picture: np.ndarray) -> np.ndarray:
        """Resize an RGB picture (H, W, 3), uint8, to the image (3, h, w) that the network gets, as in a test."""
        sample = {'img': picture, 'img_shape': picture.shape[:2]}
        for step in self.steps:
            sample = step(sample)
        image = sample['img']
        size, taken = list(image.shape[:2]), self.metadata.size
        if taken and self.mode == 'whole' and size != taken:
            advice = 'export with --dynamic or another --shape'
            if self.metadata.task == 'segmentation':
                advice = f'predict with --mode slide, or {advice}'
            raise UserError(f'the image is {_by(size)}, and the network takes {_by(taken)} only: {advice}')
        if taken and self.mode == 'slide' and (size[0] < taken[0] or size[1] < taken[1]):
            raise UserError(f'the image is {_by(size)}, less than a window of {_by(taken)}: export with --dynamic')
        if self.metadata.output == 'labels' and image.shape != picture.shape:
            raise UserError('the network gives labels, which cannot be resized: export with --output logits')
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def __call__(self, images: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> list:
        """Predict pictures of these sizes, whose :meth:`prepared` images have one size.

        Returns:
            A label map (H, W), uint8, of each; or of a classifier the pairs of label and probability of the five
            classes that are most likely, or of all where there are fewer, the first first.
        """
        batch = np.stack(images)
        output = self.run(batch) if self.mode == 'whole' else slide(self.run, batch, self.window, self.stride)
        if self.metadata.task == 'classification':
            best = output.softmax(1).topk(min(TOP, output.shape[1]))
            pairs = torch.stack([best.indices.double(), best.values.double()], -1).tolist()
            return [[(int(label), score) for label, score in each] for each in pairs]
        if self.metadata.output == 'labels':
            return list(output.numpy())
        return [self._labels(logits[None], tuple(size)) for logits, size in zip(output, sizes, strict=True)]

    def _labels(self, logits: Tensor, size: tuple[int, int]) -> np.ndarray:
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size, mode='bilinear', align_corners=self.metadata.align_corners)
        return labels_of(logits, self.metadata.threshold)[0].numpy()


def slide(run: Run, images: np.ndarray, window: Sides, stride: Sides) -> Tensor:
    """Compute mean logits (N, K, h, w) of all windows over a pixel, for images (N, 3, h, w)."""
    size = images.shape[-2:]
    total, count = None, torch.zeros(1, 1, *size)
    for rows, columns in spans(size, window, stride):
        logits = run(images[..., rows, columns])
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], *size)
        total[..., rows, columns] += logits
        count[..., rows, columns] += 1
    return total / count


def _transforms(steps: Sequence[dict]) -> list[Callable[[dict], dict]]:
    """Build the stock transforms of some steps, of which JSON made lists of tuples. Nothing else can be named there."""
    made = []
    with blame('set up the resizing'):
        for step in steps:
            options = {key: tuple(value) if isinstance(value, list) else value for key, value in step.items()}
            made.append(_step(options.pop('type'))(**options))
    return made


def _step(kind: str) -> type:
    place = STEPS[kind]
    try:
        return getattr(importlib.import_module(place), kind)
    except ImportError as error:
        raise UserError(f'{kind} is of {place.split(".")[0]}: pip install "{source()}[classification]"') from error


def _windows_of(metadata: Metadata, window: Sides | None, stride: Sides | None) -> tuple[Sides, Sides]:
    if metadata.task == 'classification':
        raise UserError('windows are for segmentors: a classifier takes whole images')
    window = window or metadata.size or metadata.window
    if metadata.scene:
        raise UserError('the memory covers a scene, and each window would be taken for a whole one: use --mode whole')
    if window is None:
        raise UserError('mode slide needs a window: say its --window H W')
    if metadata.output == 'labels':
        raise UserError('mode slide averages logits, and the network gives labels: export with --output logits')
    if metadata.size and list(window) != list(metadata.size):
        raise UserError(f'the network takes {_by(metadata.size)} only, and the windows are {_by(window)}')
    stride = stride or metadata.stride or [max(side // 2, 1) for side in window]
    if min(*window, *stride) < 1 or any(step > side for step, side in zip(stride, window, strict=True)):
        raise UserError(f'a stride of {_by(stride)} with windows of {_by(window)} leaves pixels without a label')
    return tuple(window), tuple(stride)


def _by(size: Sides) -> str:
    return 'x'.join(map(str, size))
