"""Networks behind one call, whatever runs them: RGB pixels (N, 3, h, w), uint8, to logits or labels."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError, one_line
from .export import require
from .metadata import Card
from .network import ServedNetwork

PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')


class TorchRuntime:
    """A network run by PyTorch.

    Args:
        network: A network, on any device.
        card: What it is.
    """

    def __init__(self, network: ServedNetwork, card: Card):
        self.network = network.eval()
        self.card = card
        self.device = next(network.parameters()).device

    def __call__(self, images: np.ndarray) -> Tensor:
        """Logits (N, K, h, w) or labels (N, h, w), on the CPU, for images (N, 3, h, w)."""
        with torch.inference_mode():
            return self.network(torch.from_numpy(images).to(self.device)).cpu()


class OnnxRuntime:
    """A network that ``tools/export.py`` wrote, run by onnxruntime, with as many threads as torch has.

    Args:
        path: The ONNX file.

    Raises:
        UserError: For a file that is not there, is damaged, or is another program's.
    """

    def __init__(self, path: Path):
        require('onnxruntime')
        import onnxruntime

        if not Path(path).is_file():
            raise UserError(f'no such model: {path}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        there = onnxruntime.get_available_providers()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=[name for name in PROVIDERS if name in there]
            )
        except Exception as error:  # onnxruntime has a dozen kinds
            raise UserError(f'{path} is no ONNX model that onnxruntime can run: {one_line(error)[:300]}') from error
        self.card = Card.from_texts(self.session.get_modelmeta().custom_metadata_map, path)
        self.input = self.session.get_inputs()[0].name

    def __call__(self, images: np.ndarray) -> Tensor:
        """Logits (N, K, h, w) or labels (N, h, w) for images (N, 3, h, w)."""
        (output,) = self.session.run(None, {self.input: np.ascontiguousarray(images)})
        return torch.from_numpy(output)
