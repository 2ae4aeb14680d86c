"""A network as it is served, RGB pixels in and logits or labels out, and what runs it: PyTorch or onnxruntime.

Shape letters: N images, K classes (or one, where a head tells two classes apart by a threshold), (h, w) their size.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError, one_line
from ..installed import source
from .hosts import HOSTS, preparation_of, served_task
from .metadata import Metadata, threshold_of

PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')


class ServedNetwork(nn.Module):
    """Do what data preprocessor and network do with a whole image: normalisation, colours and padding are inside.

    The segmentor or classifier is shared, not copied; where ``half``, it is turned to half precision in place.
    """

    def __init__(self, model: nn.Module, labels: bool = False, half: bool = False):
        super().__init__()
        preprocessor = model.data_preprocessor
        to_rgb, self.padding, self.pad_val = preparation_of(model)
        self.turned = not to_rgb  # trained on OpenCV's order of colours
        for name in ('mean', 'std'):  # (1, 3, 1, 1)
            value = getattr(preprocessor, name)[None].clone() if preprocessor._enable_normalize else None
            self.register_buffer(name, value)
        self.labels, self.threshold = labels, threshold_of(model)
        self.dtype = torch.float16 if half else torch.float32
        self.task, self.network = served_task(model), model.to(self.dtype)

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


def labels_of(logits: Tensor, threshold: float | None) -> Tensor:
    """Make labels (N, ...) of logits (N, K, ...), one byte each where that will do; one channel has a threshold.

    Example:
        >>> labels_of(torch.tensor([[-1.0, 2.0], [0.0, 0.0]]).view(1, 2, 1, 2), None).tolist()
        [[[1, 0]]]
    """
    if logits.shape[1] == 1:
        return (logits[:, 0].sigmoid() > threshold).to(torch.uint8)
    return logits.argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int64)


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
