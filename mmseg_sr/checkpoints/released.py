"""Weights that come with mmseg_sr, by an address: ``mmseg_sr://checkpoints/<file>``, from a wheel or a checkout."""

import torch
from mmengine.runner import CheckpointLoader

from ..errors import UserError
from ..openmmlab import HOME, SCHEME
from .reading import DIGEST, load_from_safetensors


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_from_mmseg_sr(address: str, map_location: str | torch.device | None = None) -> dict:
    """Read released weights for mmengine: a config, ``init_model`` and ``MMSegInferencer`` take the address by this.

    Args:
        address: As a model index has it in ``Weights``.
        map_location: Device of the weights; None for the CPU.

    Raises:
        UserError: For an address at which nothing was released; and as :func:`.read_checkpoint`.
    """
    path = HOME / address.removeprefix(SCHEME)
    if not path.is_file():
        released = sorted(DIGEST.sub('', file.stem) for file in (HOME / 'checkpoints').glob('*.safetensors'))
        raise UserError(
            f'mmseg_sr comes with no weights of {path.name}. Train it and give the file, weights=FILE. '
            f'It comes with those of {", ".join(released)}'
        )
    return load_from_safetensors(str(path), map_location)
