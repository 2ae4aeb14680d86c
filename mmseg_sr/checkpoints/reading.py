"""Read checkpoints: whole, and without running what else may be in the file."""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO

import safetensors.torch
import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from ..config import TRUST
from ..errors import UserError, blame, one_line
from ..names import find_checkpoint
from .allowed import ALLOWED, Refused, made

DIGEST = re.compile(r'-([0-9a-f]{8})$')  # how the name of a published file ends: the first digits of its sha256
ZIP, PICKLE = b'PK\3\4', b'\x80'  # how what torch.save writes begins: today, and before torch 1.6
OTHERS = {  # what downloads leave instead of a checkpoint, by its beginning
    b'<': 'it is a web page. The download went wrong: get it again',
    b'version https://git-lfs': 'it is a pointer of git-lfs: run git lfs pull',
}


def read_checkpoint(source: str | Path) -> dict:
    """Read a checkpoint to the CPU: a local file, which is opened once, an address, or a name.

    Args:
        source: A .pth or a .safetensors file, an address that mmengine knows, or the name of a released model.

    Raises:
        UserError: For a file that is not there, is damaged, is no checkpoint, holds more than tensors, plain values and
            mmengine's records of a training, or is a published one and not the one that its name says.
    """
    if '://' in str(source):
        with blame(f'get {source}'):
            return _checked(CheckpointLoader.load_checkpoint(str(source), map_location='cpu'), source)
    source = find_checkpoint(source)
    with open(source, 'rb') as file:
        if Path(source).suffix == '.safetensors':
            return _checked(_read_safetensors(file), source)
        checkpoint = _checked(load(file, 'cpu'), source)
        versions = checkpoint.get('meta', {}).get('versions')
        # Of .pth files only those published here are known to end in their own sha256, and not in a date, say.
        if isinstance(versions, dict) and 'mmseg_sr' in versions:
            file.seek(0)
            _check_digest(source, file)
        return checkpoint


def _checked(checkpoint: object, source: str | Path) -> dict:
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout is torch.strided
        for name, value in weights.items()
    ):
        raise UserError(f'{source} is no checkpoint: there are no weights in it')
    if not isinstance(checkpoint.get('meta', {}), dict):
        raise UserError(f'{source} is no checkpoint: what is in its meta is none')
    return checkpoint


def _read_safetensors(file: BinaryIO) -> dict:
    content = file.read()
    _check_digest(file.name, io.BytesIO(content))
    try:
        weights = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
        texts = header.pop('__metadata__', {})
        weights = {name: weights[name] for name in header}  # in the file's order: safetensors has another each time
    except Exception as error:  # damage has many shapes
        raise UserError(f'{file.name} is no checkpoint ({one_line(error)[:300]})') from error
    meta = dict(texts)
    for key in texts.keys() - {'cfg'}:  # the texts that are JSON become what they say
        with contextlib.suppress(ValueError, RecursionError):
            meta[key] = json.loads(texts[key])
    return {'meta': meta, 'state_dict': weights}


def _check_digest(name: str | Path, file: BinaryIO) -> None:
    named = DIGEST.search(Path(name).stem)
    if named and (digest := sha256_of(file)[:8]) != named[1]:
        raise UserError(
            f'{name} is damaged or was renamed: its name says sha256 {named[1]}..., and it is {digest}... '
            'Get it again; or, where these are no digits of a sha256, give it another name'
        )


def sha256_of(file: BinaryIO) -> str:
    """Compute the sha256 of what is left to read of a file."""
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def load(source: str | Path | BinaryIO, map_location: object = None) -> object:
    """Load what ``torch.save`` wrote, as ``torch.load``: tensors, plain values and mmengine's records of a training.

    Raises:
        UserError: For a file that is damaged, is no checkpoint, or asks for anything else, which is not run. Where the
            environment has ``MMSEG_SR_TRUST_CHECKPOINT=1`` it is.
    """
    if isinstance(source, (str, Path)):
        with open(source, 'rb') as file:
            return load(file, map_location)
    name = getattr(source, 'name', 'the checkpoint')
    file = _recognised(source, name)
    try:
        return read_records(file, map_location)
    except UnpicklingError as error:
        refused = Refused(name, error)
    except Exception as error:  # torch.load raises a dozen kinds on a file that it did not write
        raise UserError(f'{name} is no checkpoint ({one_line(error)[:300]})') from error
    finally:
        if isinstance(file, _Archive):
            file.check()
    if os.environ.get(TRUST) != '1':
        raise refused
    print_log(f'{name} holds more than weights ({refused.reason}): trusted and run.', 'current', logging.WARNING)
    file.seek(0)
    try:
        return torch.load(file, map_location=map_location, weights_only=False)
    except Exception as error:  # what it holds can raise anything
        raise UserError(f'{name} is no checkpoint ({one_line(error)[:300]})') from error


def read_records(file: BinaryIO, map_location: object = None) -> object:
    """Read what is allowed, of a file that torch wrote; anything else is an ``UnpicklingError``, and is not run."""
    with torch.serialization.safe_globals(ALLOWED):
        return made(torch.load(file, map_location=map_location, weights_only=True))


def _recognised(file: BinaryIO, name: str | Path) -> '_Archive | BinaryIO':
    """Refuse a file that torch did not write, and prepare the comparison with the checksums in one that it did."""
    start = file.read(64)
    file.seek(0)
    if start.startswith(ZIP):
        return _Archive(file, name)
    if not start.startswith(PICKLE):
        kinds = (kind for beginning, kind in OTHERS.items() if start.lstrip().startswith(beginning))
        raise UserError(f'{name} is no checkpoint: {next(kinds, "torch did not write it") if start else "it is empty"}')
    return file


class _Archive:
    """Compare the records of a checkpoint's zip file with their checksums as torch, which does not, reads them."""

    def __init__(self, file: BinaryIO, name: str | Path):
        self.file, self.name = file, name
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.unread, self.wrong = {}, []  # records by the place of their content; names
        with self._blame(), zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if sum(record.file_size for record in records) > file.seek(0, os.SEEK_END):  # torch.save does not compress
                raise ValueError('its records claim to be longer than the file')
            for record in records:
                archive.open(record).close()  # reads what stands before the content
                self.unread[file.tell()] = record
            if min(len(self.unread), len({record.filename for record in records})) < len(records):
                raise ValueError('two of its records have one name')
        file.seek(0)

    def readinto(self, buffer: memoryview) -> int:
        place = self.file.tell()
        count = self.file.readinto(buffer)
        if place in self.unread and self.unread[place].file_size == count:
            record = self.unread.pop(place)
            if zlib.crc32(buffer) != record.CRC:
                self.wrong.append(record.filename)
        return count

    def check(self) -> None:
        """Refuse the file if a record differs; those that torch did not read are read here."""
        with self._blame(), zipfile.ZipFile(self.file) as archive:
            for record in self.unread.values():
                archive.read(record)
            if self.wrong:
                raise ValueError(f'{self.wrong[0]} in it is not what was written')

    @contextlib.contextmanager
    def _blame(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # damage has many shapes
            raise UserError(f'{self.name} is damaged or cut short ({one_line(error)}). Get it again') from error
