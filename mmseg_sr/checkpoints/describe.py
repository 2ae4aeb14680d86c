"""Describe a checkpoint from the file alone: no config is read, no code is run."""

from collections import Counter
from pathlib import Path

from torch import Tensor

from ..datasets.classes import listed
from ..errors import UserError
from ..models.low_rank import block_norms
from ..models.resize_state import keys_of, options_of
from ..names import find_checkpoint
from .reading import read_checkpoint, sha256_of
from .resuming import RESUMES
from .weights import dataset_meta_of, is_finite, plain_weights


def describe(source: str | Path) -> dict:
    """Describe a .pth or a .safetensors file.

    Returns:
        ``bytes`` and ``sha256`` of the file; ``iter``, ``config`` (its name), ``classes``, ``metrics`` and
        ``versions`` where it tells them, else None; ``config_text``, whether the config's text is in it;
        ``tensors``, ``numbers`` in them and ``dtypes``; ``not_finite``, the tensors with NaN or infinity;
        ``resumable``, whether a training can go on from it; ``sr_blocks``: for each its C, (H, W), P, U and R, and the
        norm of each memory block.

    Raises:
        UserError: For what is no file of a checkpoint.
    """
    source = find_checkpoint(source)
    if '://' in str(source):
        raise UserError(f'{source} is an address: only files can be described, and released models by their names')
    checkpoint = read_checkpoint(source)
    weights, meta = plain_weights(checkpoint), checkpoint.get('meta', {})
    with open(source, 'rb') as file:
        digest = sha256_of(file)
    return {
        'bytes': Path(source).stat().st_size,
        'sha256': digest,
        'iter': meta.get('iter'),
        'config': meta.get('experiment_name'),
        'config_text': bool(meta.get('cfg')),
        'classes': listed(dataset_meta_of(checkpoint) or {}).get('classes'),
        'metrics': meta.get('metrics'),
        'versions': meta.get('versions'),
        'tensors': len(weights),
        'numbers': sum(weight.numel() for weight in weights.values()),
        'dtypes': dict(Counter(str(weight.dtype).removeprefix('torch.') for weight in weights.values())),
        'not_finite': [name for name, weight in weights.items() if not is_finite(weight)],
        'resumable': checkpoint.keys() >= RESUMES,
        'sr_blocks': _blocks(weights),
    }


def _blocks(weights: dict[str, Tensor]) -> dict[str, dict]:
    """The SR blocks by their dotted names: where all tensors of one lie side by side and fit each other."""
    found = {}
    for prefix in (key.removesuffix('squeeze.weight') for key in weights if key.endswith('squeeze.weight')):
        keys = keys_of(weights, prefix)
        if not weights.keys() >= set(keys):
            continue
        tensors = [weights[key] for key in keys]
        options = options_of(*tensors)
        if options is not None:
            memory = tensors[3:]
            measured = {'memory_size': list(memory[-1].shape[-2:]), 'norms': block_norms(*memory).tolist()}
            found[prefix.removesuffix('.')] = options | measured
    return found
