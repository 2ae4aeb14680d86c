"""Other ways to recall, and controls with as many numbers: what experiments/recall_*.yaml compare with the SR block.

Shape letters: N batch, C channels, (h, w) size of the map, P memory vectors, K classes, U hidden neurons, R rank.
"""

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.models import EncoderDecoder
from torch import Tensor, nn

from mmseg_sr.models.block import SRBlock, SRConv2d, SRLinear


class _LastSoftmax(nn.Module):
    """Softmax over the channels of (N, P, h, w), which come last: (N, h, w, P)."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.permute(0, 2, 3, 1).softmax(-1)


class _Recall(SRBlock):
    """What tools for SR blocks ask of a block: a gate that gives weights (..., P), and a memory that may be zeroed."""

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super(SRBlock, self)._load_from_state_dict(*args, **kwargs)  # no memory size to move


@MODELS.register_module()
class PixelRecall(_Recall):
    """Recall cell by cell: a softmax over P memory vectors at each cell, from a 1x1 convolution of the map.

    2*P*C numbers and P biases, any input size. The memory starts at zero, as the SR block's.
    """

    def __init__(self, in_channels: int, num_memories: int = 32):
        super().__init__(in_channels, memory_size=(1, 1), num_memories=num_memories, hidden_channels=1)
        with torch.random.fork_rng(devices=[]):
            self.squeeze = None
            self.gate = nn.Sequential(SRConv2d(in_channels, num_memories, kernel_size=1), _LastSoftmax())

    def forward(self, x: Tensor) -> Tensor:
        """Add to each cell of ``x`` (N, C, h, w) its weighted sum of the memory vectors."""
        return x + (self.gate(x) @ self.memory.flatten(1)).permute(0, 3, 1, 2)


@MODELS.register_module()
class ClassRecall(_Recall):
    """Recall cell by cell what is known of its class: K moving averages of features, and a softmax that learns classes.

    The average goes through two layers, C to R to C, of which the second starts at zero. MCIBI++'s idea, smaller:
    https://arxiv.org/abs/2209.04471. :class:`AddressedEncoderDecoder` gives it the labels.

    Args:
        in_channels: C.
        num_classes: K.
        rank: R.
        momentum: What a class's average keeps at a step in which the class was seen.
        recalls: Off for the control: the addresses are learnt, and nothing is added.
    """

    def __init__(self, in_channels: int, num_classes: int, rank: int = 16, momentum: float = 0.9, recalls: bool = True):
        super().__init__(in_channels, memory_size=(1, 1), num_memories=num_classes, hidden_channels=1)
        self.momentum, self.recalls = momentum, recalls
        with torch.random.fork_rng(devices=[]):
            self.squeeze = self.memory = None
            self.gate = nn.Sequential(SRConv2d(in_channels, num_classes, kernel_size=1), _LastSoftmax())
            self.read = SRLinear(in_channels, rank, bias=False)
            self.write = SRLinear(rank, in_channels, bias=False)
            nn.init.zeros_(self.write.weight)
        self.register_buffer('averages', torch.zeros(num_classes, in_channels))

    def memory_parameters(self) -> list[Tensor]:
        """Return what is zero where nothing is recalled, class by class."""
        return [self.averages]

    def forward(self, x: Tensor) -> Tensor:
        """Add to each cell of ``x`` (N, C, h, w) what is known of its class; what the labels are needed for is kept."""
        weights = self.gate(x)
        self.seen, self.weights = x.detach(), weights
        if not self.recalls:
            return x
        return x + (weights @ self.write(self.read(self.averages))).permute(0, 3, 1, 2)

    def loss(self, labels: Tensor) -> Tensor:
        """Compare the addresses with labels (N, height, width), and take the features into the averages."""
        small = F.interpolate(labels[:, None].float(), self.seen.shape[-2:], mode='nearest')[:, 0].long()
        with torch.no_grad():
            vectors = self.seen.permute(0, 2, 3, 1)[small != 255]
            of = F.one_hot(small[small != 255], self.num_memories).to(vectors)  # (cells, K)
            count = of.sum(0)[:, None]
            keep = torch.where(self.averages.any(1, keepdim=True), self.momentum, 0.0)
            mean = of.T @ vectors / count.clamp(min=1)
            # Another tensor: the gradient to what reads the old one is still to come.
            self.averages = torch.where(count > 0, keep * self.averages + (1 - keep) * mean, self.averages)
        maps = self.weights.permute(0, 3, 1, 2).contiguous()
        scores = F.interpolate(maps, labels.shape[-2:], mode='bilinear')
        return F.nll_loss(scores.clamp(min=1e-6).log(), labels, ignore_index=255)


@MODELS.register_module()
class AddressedEncoderDecoder(EncoderDecoder):
    """An EncoderDecoder whose block learns its addresses from the labels, with the weight of the auxiliary loss."""

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        losses = super().loss(inputs, data_samples)
        block = next(module for module in self.modules() if isinstance(module, ClassRecall))
        labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])[:, 0].long()
        return losses | {'address.loss_ce': 0.4 * block.loss(labels)}


class _ColdSoftmax(nn.Module):
    """A softmax whose temperature falls from 30 to 1 over the first ``steps`` training passes."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps
        self.register_buffer('done', torch.zeros((), dtype=torch.long))

    def forward(self, logits: Tensor) -> Tensor:
        heat = 1 + 29 * (1 - self.done / self.steps).clamp(min=0)
        self.done += self.training
        return (logits / heat).softmax(-1)


@MODELS.register_module()
class ChoosingSRBlock(_Recall):
    """The SR block with a gate that takes the means of all channels and starts warm, as that of dynamic convolution.

    https://arxiv.org/abs/1912.03458

    Args:
        in_channels, memory_size, num_memories, hidden_channels: As of the SR block.
        steps: Training passes until the softmax has cooled down.
        std: Of the numbers that the memories start from. At zero all are the same, and the gate gets no gradient.
    """

    def __init__(
        self,
        in_channels: int,
        memory_size: tuple,
        num_memories: int = 3,
        hidden_channels: int = 16,
        steps: int = 80,
        std: float = 0.0,
    ):
        super().__init__(in_channels, memory_size, num_memories, hidden_channels)
        with torch.random.fork_rng(devices=[]):
            self.squeeze = None
            layers = SRLinear(in_channels, hidden_channels), nn.ReLU(), SRLinear(hidden_channels, num_memories)
            self.gate = nn.Sequential(*layers, _ColdSoftmax(steps))
            nn.init.normal_(self.memory, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x`` (N, C, h, w) what is remembered for it."""
        return self.recall_add(x, self.gate(x.mean((2, 3))))


@MODELS.register_module()
class PixelBottleneck(nn.Module):
    """Control of :class:`PixelRecall`: as many numbers, and a ReLU where that has a softmax."""

    def __init__(self, in_channels: int, hidden_channels: int = 32):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.reduce = SRConv2d(in_channels, hidden_channels, kernel_size=1)
            self.expand = SRConv2d(hidden_channels, in_channels, kernel_size=1, bias=False)
            nn.init.zeros_(self.expand.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(F.relu(self.reduce(x)))
