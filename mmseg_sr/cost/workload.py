"""Put a network to work on random images: training steps and predictions as a Runner makes them, for measuring."""

import copy

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import BaseDataElement, PixelData
from mmseg.structures import SegDataSample
from torch import nn

from ..datasets.build import channels_of
from ..errors import blame
from ..scene.places import WHOLE
from .peak import peak_bytes


class Drill:
    """Train and run a segmentor, or a classifier, on one batch of random images and labels.

    Args:
        model: A segmentor or a classifier. It is trained, and moved to ``device``.
        cfg: Its config: the optimizer comes from ``optim_wrapper``, SGD with momentum where there is none.
        shape: Height and width of the images.
        batch: Training images in a step; predictions are made of one.
        device: 'cpu', 'cuda', ...
        dtype: Steps run under autocast to this, unless it is float32.
        compile: Run the network under ``torch.compile``.
    """

    def __init__(
        self,
        model: nn.Module,
        cfg: Config,
        shape: tuple[int, int],
        batch: int,
        device: str = 'cpu',
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
    ):
        self.model = model.to(device)
        self.device, self.dtype, self.compiled = torch.device(device), dtype, compile
        preprocessor = model.data_preprocessor  # which would pad the images to the crop of the config, or to a divisor
        preprocessor.size, preprocessor.size_divisor, preprocessor.test_cfg = shape, None, None
        wrapper = copy.deepcopy(cfg.get('optim_wrapper')) or dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
        wrapper['type'] = 'OptimWrapper'  # autocast is this class's own, and every step is one of the optimizer's
        for key in ('dtype', 'loss_scale', 'accumulative_counts'):
            wrapper.pop(key, None)
        with blame('build the optimizer'):
            self.optim_wrapper = build_optim_wrapper(model, wrapper)
        for group in self.optim_wrapper.param_groups:
            group['lr'] = 0.0  # the same work, and random labels spoil nothing
        sample = _segmented if hasattr(model, 'decode_head') else _classified
        size = channels_of(cfg), *shape
        self.images = [(torch.randint(0, 256, size, dtype=torch.uint8), sample(model, shape)) for _ in range(batch)]
        if compile:
            model.forward = torch.compile(model.forward)

    def train(self) -> None:
        """Make one training step."""
        self.model.train()
        with self._autocast():
            self.model.train_step(self._batch(len(self.images)), self.optim_wrapper)

    def predict(self) -> None:
        """Predict one image."""
        self.model.eval()
        with self._autocast(), torch.no_grad():
            self.model.test_step(self._batch(1))

    def peak_bytes(self) -> int | None:
        """Measure the most bytes that tensors hold in a training step, with the network and its optimizer's state.

        None where the network is compiled, which hides its tensors.
        """
        self.train()
        if self.compiled:
            return None
        held = [*self.model.parameters(), *self.model.buffers(), *self._states()]
        if self.device.type != 'cuda':
            return peak_bytes(self.train, held)
        own = sum(tensor.untyped_storage().nbytes() for tensor in held)
        others = torch.cuda.memory_allocated(self.device) - own  # such as the network that this one is compared with
        torch.cuda.reset_peak_memory_stats(self.device)
        self.train()
        return torch.cuda.max_memory_allocated(self.device) - others

    def state_bytes(self) -> int:
        """Count the bytes that the optimizer keeps between steps; make one first."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._states())

    def _states(self) -> list[torch.Tensor]:
        states = self.optim_wrapper.optimizer.state.values()
        return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]

    def _batch(self, count: int) -> dict:
        # A preprocessor changes the samples it is given.
        inputs, samples = zip(*self.images[:count], strict=True)
        return dict(inputs=list(inputs), data_samples=copy.deepcopy(list(samples)))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def _segmented(model: nn.Module, shape: tuple[int, int]) -> SegDataSample:
    classes = max(model.out_channels, 2)  # one channel tells two apart
    meta = dict(ori_shape=shape, img_shape=shape, pad_shape=shape, flip=False, img_path='random', scene_box=WHOLE)
    return SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, classes, (1, *shape))), metainfo=meta)


def _classified(model: nn.Module, shape: tuple[int, int]) -> BaseDataElement:
    from mmpretrain.structures import DataSample  # there where there is a classifier

    return DataSample(metainfo=dict(img_shape=shape)).set_gt_label(int(torch.randint(model.head.num_classes, ())))
