"""Count what SR blocks cost a network: parameters and multiply-adds, beside the same network without them.

Shape letters: N batch, C channels, (H, W) size of the memory, (h, w) size of a block's input, P memory blocks,
U hidden neurons.
"""

import contextlib
import copy
import io
import math

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.analysis.jit_handles import bmm_flop_jit
from torch import Tensor, nn

from ..models.block import SRBlock
from ..models.find import sr_blocks


def without_blocks(model: nn.Module) -> nn.Module:
    """Copy a model and take its SR blocks out of the copy: the stock network, with the same other weights.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), SRBlock(4, (2, 2)))
        >>> len(without_blocks(model)), len(model)
        (1, 2)
    """
    model = copy.deepcopy(model)
    for name in sr_blocks(model):
        parent, _, child = name.rpartition('.')
        delattr(model.get_submodule(parent), child)
    return model


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count parameters: all, without an auxiliary head (which inference does not run), and of SR blocks.

    Example:
        >>> count_parameters(nn.Sequential(nn.Conv2d(3, 4, 1), SRBlock(4, (2, 2), hidden_channels=1)))
        {'all': 62, 'without_auxiliary': 62, 'sr': 46}
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    main = sum(size for name, size in sizes.items() if not name.startswith('auxiliary_head.'))
    blocks = sum(parameter.numel() for block in sr_blocks(model).values() for parameter in block.parameters())
    return {'all': sum(sizes.values()), 'without_auxiliary': main, 'sr': blocks}


def count_multiply_adds(model: nn.Module, images: Tensor) -> dict:
    """Count the multiply-adds of a pass with mmengine's counter, which calls them FLOPs, and SR blocks in closed form.

    The model is in evaluation mode, its images are (N, 3, height, width); an auxiliary head is not run.

    Returns:
        ``all``: what the counter counts, SR blocks included; ``sr``: :func:`block_multiply_adds` of all blocks, at the
        sizes they meet; ``uncounted``: how often operations ran of which the counter knows no cost.
    """
    counts: list[int] = []

    def count(block: SRBlock, args: tuple) -> None:
        counts.append(block_multiply_adds(block, args[0].shape))

    with torch.no_grad(), contextlib.ExitStack() as stack:
        for block in sr_blocks(model).values():
            stack.enter_context(block.register_forward_pre_hook(count))
        model(images)
    counter = FlopAnalyzer(model, (images,)).tracer_warnings('none')
    counter = counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counter.set_op_handle(**{'aten::baddbmm': lambda inputs, outputs: bmm_flop_jit(inputs[1:3], outputs)})
    return {'all': int(counter.total()), 'sr': sum(counts), 'uncounted': dict(counter.unsupported_ops())}


def block_multiply_adds(block: SRBlock, shape: tuple[int, int, int, int]) -> int:
    """Count the multiply-adds of an SR block for an input (N, C, h, w), without resizes where it is not (H, W).

    ``N (C h w + H W U + U P + P C H W)``: squeeze, gate, and the weighted sum; of a memory of rank R that sum is
    ``P R C h w``, made at the input's size.

    Example:
        >>> block_multiply_adds(SRBlock(8, (4, 5), num_memories=3, hidden_channels=16), (2, 8, 4, 5))
        2016
    """
    count, channels, height, width = shape
    hidden, memories, rank = block.hidden_channels, block.num_memories, block.memory_rank
    cells, here = math.prod(block.memory_size), height * width
    gate = cells * hidden + hidden * memories
    recall = memories * channels * cells if rank is None else memories * rank * channels * here
    return count * (channels * here + gate + recall)


def stored_bytes(content: object) -> int:
    """Measure the size of a file that ``torch.save`` makes of ``content``.

    Example:
        >>> 400 < stored_bytes(torch.zeros(100)) < 4000
        True
    """
    file = io.BytesIO()
    torch.save(content, file)
    return file.getbuffer().nbytes
