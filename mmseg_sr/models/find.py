"""Find the SR blocks of a model."""

from torch import nn

from .block import SRBlock


def sr_blocks(model: nn.Module) -> dict[str, SRBlock]:
    """Find the SR blocks of a model.

    Args:
        model: Any module; one that is wrapped (DDP, test-time augmentation) gives the names of the one inside.

    Returns:
        Blocks by their dotted names, in the order of the model.
    """
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, SRBlock)}
    while blocks and all(name.startswith('module.') for name in blocks):
        blocks = {name.removeprefix('module.'): block for name, block in blocks.items()}
    return {name or 'SRBlock': block for name, block in blocks.items()}
