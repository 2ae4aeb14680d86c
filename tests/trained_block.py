"""A block in which every part counts, shared by the tests of its arithmetic."""

import torch

from mmseg_sr import SRBlock


def trained(in_channels=6, memory_size=(4, 5), num_memories=3, hidden_channels=4, seed=0, **options) -> SRBlock:
    """A block whose memory is not zero and whose gate tells images apart."""
    generator = torch.Generator().manual_seed(seed)
    block = SRBlock(in_channels, memory_size, num_memories, hidden_channels, **options)
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return block
