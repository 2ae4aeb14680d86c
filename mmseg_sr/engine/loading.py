"""Loading what torch.save wrote: whole, and without running what else may be in the file.

Importing this makes mmengine load so too, wherever it takes a checkpoint from: a Runner's ``load_from`` and ``resume``,
``init_model``, ``MMSegInferencer``, ``init_cfg=dict(type='Pretrained')``. By itself mmengine runs what a checkpoint
holds where reading it safely fails, and what it downloads.
"""

import contextlib
import logging
import os
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as runner_checkpoint
from mmengine.utils import digit_version

from ..errors import UserError, one_line
from .unpickling import ALLOWED

TRUST = 'MMSEG_SR_TRUST_CHECKPOINT'
ZIP, PICKLE = b'PK\3\4', b'\x80'  # how what torch.save writes begins: today, and before torch 1.6
OTHERS = {  # what downloads leave instead of a checkpoint, by its beginning
    b'<': 'it is a web page. The download went wrong: get it again',
    b'version https://git-lfs': 'it is a pointer of git-lfs: run git lfs pull',
}


def load(source: str | Path | BinaryIO, map_location: object = 'cpu') -> object:
    """Load a file of ``torch.save``: tensors, plain values and mmengine's records of a training.

    Args:
        source: Path of the file, or the file, open.
        map_location: As in ``torch.load``.

    Raises:
        UserError: For a file that is damaged, is no checkpoint, or asks for anything else, which is not run. Where the
            environment has ``MMSEG_SR_TRUST_CHECKPOINT=1`` it is.
        OSError: For a path that cannot be read.
    """
    is_path = isinstance(source, (str, Path))
    name = source if is_path else getattr(source, 'name', 'the checkpoint')
    with open(source, 'rb') if is_path else contextlib.nullcontext(source) as file:
        _check_whole(file, name)
        file.seek(0)
        try:
            if digit_version(torch.__version__) < digit_version('2.6.0'):
                raise UnpicklingError('to read it safely takes torch 2.6 or newer')
            with torch.serialization.safe_globals(ALLOWED):
                return torch.load(source, map_location=map_location, weights_only=True)
        except UnpicklingError as error:
            reason = _reason(error)
            if os.environ.get(TRUST) != '1':
                raise UserError(
                    f'{name} was refused and nothing in it was run: it is no checkpoint of weights and numbers alone '
                    f'({reason}). To run what it holds, if you trust who made it: --trust-checkpoint, or {TRUST}=1'
                ) from error
        except Exception as error:  # torch.load raises a dozen kinds on a file that it did not write
            raise UserError(f'{name} is no checkpoint ({one_line(error)[:300]})') from error
        file.seek(0)
        print_log(f'{name} holds more than weights ({reason}): trusted and run.', 'current', logging.WARNING)
        try:
            return torch.load(source, map_location=map_location, weights_only=False)
        except Exception as error:  # what it holds can raise anything
            raise UserError(f'{name} is no checkpoint ({one_line(error)[:300]})') from error


def _reason(error: UnpicklingError) -> str:
    """What a file asked for, of torch's advice of ten lines."""
    asked = re.search(r'GLOBAL (?:builtins\.|__builtin__\.)?(\S+)', str(error))  # torch 2.6 says whose eval
    if asked:
        return f'it asks for {asked[1]}'
    return str(error).rpartition('WeightsUnpickler error: ')[2].strip().split('\n')[0][:300]


def _check_whole(file: BinaryIO, name: str | Path) -> None:
    """Hold a file against the checksums that torch.save wrote and torch.load does not compare."""
    start = file.read(64)
    if start.startswith(PICKLE):
        return
    if not start.startswith(ZIP):
        kinds = (kind for beginning, kind in OTHERS.items() if start.lstrip().startswith(beginning))
        raise UserError(f'{name} is no checkpoint: {next(kinds, "torch did not write it") if start else "it is empty"}')
    try:
        with zipfile.ZipFile(file) as archive:
            fault = _fault(archive, file.seek(0, os.SEEK_END))
    except Exception as error:  # damage has many shapes
        fault = one_line(error)
    if fault:
        raise UserError(f'{name} is damaged or cut short ({fault}). Get it again')


def _fault(archive: zipfile.ZipFile, size: int) -> str | None:
    records = archive.infolist()
    if len({record.filename for record in records}) < len(records):
        return 'two of its records have one name'
    if sum(record.file_size for record in records) > size:  # torch.save does not compress
        return 'its records claim to be longer than the file'
    wrong = archive.testzip()
    return wrong and f'{wrong} in it is not what was written'


# --------------------------------------------------------------------------------------------------- mmengine loads so


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: object = None) -> object:
    """Load a local file for mmengine, as :func:`load` does."""
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'{filename} can not be found.')
    return load(filename, map_location)


def _load_url(
    url: str, model_dir: str | None = None, map_location: object = None, progress: bool = True, **_: object
) -> object:
    """Load from an address, or what was fetched from there before: where torch and mmengine keep it."""
    path = Path(model_dir or Path(torch.hub.get_dir()) / 'checkpoints') / Path(urlparse(url).path).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=progress)
    return load(path, map_location)


def _load_for_mmengine(file: str | BinaryIO, map_location: object = None, **_: object) -> object:
    return load(file, map_location)


# mmengine's loaders of addresses (https, torchvision://, open-mmlab://, s3://, ...) come to these two in the end.
runner_checkpoint.load_url = _load_url
if hasattr(runner_checkpoint, '_safe_torch_load'):  # upstream's leave it to torch, whose default is safe
    runner_checkpoint._safe_torch_load = _load_for_mmengine
