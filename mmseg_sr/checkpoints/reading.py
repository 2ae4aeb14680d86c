"""Loading what torch.save wrote: whole, and without running what else may be in the file.

Importing this makes mmengine load so too, wherever it takes a checkpoint from: a Runner's ``load_from`` and ``resume``,
``init_model``, ``MMSegInferencer``, ``init_cfg=dict(type='Pretrained')``. By itself mmengine runs what a checkpoint
holds where reading it safely fails, and what it downloads.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO
from urllib.parse import urlparse

import numpy as np
import safetensors
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as runner_checkpoint
from mmengine.utils import digit_version

from ..config import TRUST
from ..errors import UserError, blame, one_line

DIGEST = re.compile(r'-([0-9a-f]{8})$')  # how the name of a published file ends: the first digits of its sha256
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


def read_checkpoint(source: str | Path) -> dict:
    """Read a checkpoint: a local file, of tensors and mmengine's bookkeeping only, or an address that mmengine knows.

    Args:
        source: A .pth or a .safetensors file, or an address.

    Raises:
        UserError: For a file that is not there, is no checkpoint, holds other Python objects, or is a published one
            and not the one that its name says.
    """
    if '://' in str(source):
        with blame(f'get {source}'):
            checkpoint = CheckpointLoader.load_checkpoint(str(source), map_location='cpu')
    elif not Path(source).is_file():
        raise UserError(f'no such checkpoint: {source}')
    else:
        checkpoint = _read_file(Path(source))
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.items())):
        raise UserError(f'{source} is no checkpoint: there are no weights in it')
    if not isinstance(checkpoint.get('meta', {}), dict):
        raise UserError(f'{source} is no checkpoint: what is in its meta is none')
    return checkpoint


def _is_weight(item: tuple[object, object]) -> bool:
    name, value = item
    return isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout is torch.strided


def _read_file(path: Path) -> dict:
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    checkpoint = load(path)
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    versions = meta.get('versions') if isinstance(meta, dict) else None
    # Of .pth files only those published here are known to end in their own sha256, and not in a date, say.
    if isinstance(versions, dict) and 'mmseg_sr' in versions:
        _check_digest(path)
    return checkpoint


def _read_safetensors(path: Path) -> dict:
    _check_digest(path)
    try:
        with safetensors.safe_open(path, framework='pt') as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}
            return {'meta': _plain_meta(file.metadata() or {}), 'state_dict': weights}
    except Exception as error:  # damage has many shapes
        raise UserError(f'{path} is no checkpoint ({one_line(error)[:300]})') from error


def _plain_meta(texts: dict[str, str]) -> dict:
    """Turn a safetensors header's texts into mmengine's ``meta``: what is JSON there becomes what it says."""
    meta = dict(texts)
    for key, text in texts.items():
        if key != 'cfg':
            with contextlib.suppress(ValueError, RecursionError):
                meta[key] = json.loads(text)
    return meta


def _check_digest(path: Path) -> None:
    named = DIGEST.search(path.stem)
    if not named:
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(named[1]):
        raise UserError(
            f'{path} is damaged or was renamed: its name says sha256 {named[1]}..., and it is {digest[:8]}... '
            'Get it again; or, where these are no digits of a sha256, give it another name'
        )


@CheckpointLoader.register_scheme(prefixes=r'(?!\S+://).*\.safetensors$', force=True)
def load_from_safetensors(filename: str, map_location: str | torch.device | None = None) -> dict:
    """Read a safetensors file for mmengine: ``load_from``, ``init_model`` and ``MMSegInferencer`` take it by this.

    Args:
        filename: Local file.
        map_location: Device of the weights; None for the CPU.

    Raises:
        UserError: As :func:`read_checkpoint`.
    """
    checkpoint = read_checkpoint(os.path.expanduser(filename))
    if map_location is not None:
        checkpoint['state_dict'] = {key: value.to(map_location) for key, value in checkpoint['state_dict'].items()}
    return checkpoint


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


# ----------------------------------------------------------------------------------------------------- what is allowed

# What a checkpoint may hold beside tensors: the records that mmengine keeps of a training, and nothing that acts.
#
# torch's reader (``weights_only=True``) calls nothing but what it knows and what it is given by name. mmengine gives it
# ``getattr`` and numpy's own functions: with the first a file walks from an allowed object to any other, with the
# second it makes arrays of arbitrary memory. Here each of these names stands for a function that makes numbers, arrays
# of numbers and log histories, and refuses the rest.
KINDS = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')
HISTORY = {'_log_history', '_count_history', 'max_length'}


def _number_type(kind: str, align: bool = False, copy: bool = False) -> np.dtype:
    """``numpy.dtype`` for numbers: numpy's own object, whose state a file cannot set, as it could a copy's."""
    if kind not in KINDS:
        raise UnpicklingError(f'an array of {kind!r} is not of numbers')
    return np.dtype(kind)


def _empty_array(*_: object) -> np.ndarray:
    """``numpy._core.multiarray._reconstruct``: the array that is filled next."""
    return np.empty(0)


def _number(kind: np.dtype, data: bytes) -> np.generic:
    """``numpy._core.multiarray.scalar``."""
    if not isinstance(kind, np.dtype) or not isinstance(data, bytes) or len(data) != kind.itemsize:
        raise UnpicklingError('a number is not of the size of its type')
    return np.frombuffer(data, kind)[0]


class _History(HistoryBuffer):
    """A ``HistoryBuffer`` that takes numbers only. What the file calls a statistic is left out: mmengine has them."""

    def __init__(self, *_: object):
        raise UnpicklingError('a log history is not made by a call')

    def __setstate__(self, state: dict) -> None:
        state = {key: value for key, value in state.items() if key != 'statistics_methods'}
        arrays = [value for key, value in state.items() if key != 'max_length']
        if state.keys() != HISTORY or not all(type(array) is np.ndarray for array in arrays):
            raise UnpicklingError('a log history holds more than numbers')
        super().__setstate__(state)
        self.__class__ = HistoryBuffer


def _statistic(owner: object, name: str) -> None:
    """``getattr``, which a log history's pickle uses to name its statistics."""
    if owner is not _History or name not in ('min', 'max', 'current', 'mean'):
        raise UnpicklingError(f'getattr(..., {name!r})')


_CALLED = {
    'builtins.getattr': _statistic,
    'builtins.slice': slice,
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'numpy.dtype': _number_type,
    'numpy.ndarray': _empty_array,
    **{f'numpy.{core}.multiarray._reconstruct': _empty_array for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': _number for core in ('core', '_core')},
}
# Objects of these types are filled by their own __setstate__. No file can name them: a name has no line break.
_FILLED = [np.ndarray, *{type(np.dtype(kind)): None for kind in KINDS}]

ALLOWED = [(each, name) for name, each in _CALLED.items()] + [(kind, f'{kind}\n') for kind in _FILLED]
"""For ``torch.serialization.safe_globals``, from torch 2.6 on."""
