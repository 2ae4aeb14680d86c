"""Checkpoints broken in every way that is cheap to make: cut, flipped, shifted, and taken apart and put together."""

import io
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.checkpoints.weights import check_weights
from mmseg_sr.errors import UserError

Variants = Iterator[tuple[str, bytes]]


def outcome(path: Path, model: nn.Module, weights: dict) -> str:
    """What is made of a file: 'refused' in one line, or its weights are 'the same'. Any other error goes through."""
    try:
        checkpoint = read_checkpoint(path)
        check_weights(model, checkpoint, path, whole=True)
    except UserError as error:
        return 'refused' if '\n' not in str(error) and str(path) in str(error) else f'said badly: {error}'
    found = checkpoint.get('state_dict', checkpoint)
    same = found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights)
    return 'the same' if same else 'other weights'


def cut(data: bytes, generator: random.Random, count: int) -> Variants:
    for length in (0, 1, 3, 64, len(data) - 1, len(data) - 22, *(generator.randrange(len(data)) for _ in range(count))):
        yield f'cut to {length}', data[:length]


def flipped(data: bytes, generator: random.Random, count: int, start: int = 0, stop: int | None = None) -> Variants:
    for _ in range(count):
        place, bit = generator.randrange(start, stop or len(data)), generator.randrange(8)
        yield f'bit {bit} of byte {place} flipped', _with(data, place, bytes([data[place] ^ 1 << bit]))


def shifted(data: bytes, generator: random.Random, count: int) -> Variants:
    for _ in range(count):
        place, length = generator.randrange(len(data)), generator.randrange(1, 100)
        yield f'{length} bytes at {place} zero', _with(data, place, bytes(min(length, len(data) - place)))
        yield f'{length} bytes at {place} gone', data[:place] + data[place + length :]
        yield f'{length} bytes more at {place}', data[:place] + generator.randbytes(length) + data[place:]


def archives(data: bytes, generator: random.Random, count: int) -> Variants:
    """Break a zip file, its directory above all."""
    yield from cut(data, generator, count)
    yield from flipped(data, generator, count)
    yield from shifted(data, generator, count // 2)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
        places = [info.header_offset for info in archive.infolist()]
        yield from flipped(data, generator, count, archive.start_dir)
    for place in generator.sample(places, min(count, len(places))):
        yield from flipped(data, generator, 1, place, place + 60)
    yield from _reassembled(records, generator, count)


def _reassembled(records: dict[str, bytes], generator: random.Random, count: int) -> Variants:
    """Valid zip files, with right checksums, of other records. Equal lengths are left alone: only a sha256 tells."""
    names = list(records)
    for _ in range(count // 2):
        one, two = generator.sample(names, 2)
        if len(records[one]) != len(records[two]):
            yield f'{one} and {two} swapped', _zip({**records, one: records[two], two: records[one]})
        yield f'no {one}', _zip({name: record for name, record in records.items() if name != one})
        yield f'{one} shorter', _zip({**records, one: records[one][:-1]})
        yield f'{one} longer', _zip({**records, one: records[one] + b'0'})
        yield f'{one} twice', _zip(records, [(one, records[two])])
    program = next(name for name in names if name.endswith('data.pkl'))
    for kind, pickle in _flipped_program(records[program], generator, count):
        yield kind, _zip({**records, program: pickle})
    yield 'a bomb', _zip({**records, names[-1]: bytes(1 << 26)}, compression=zipfile.ZIP_DEFLATED)


def _flipped_program(pickle: bytes, generator: random.Random, count: int) -> Variants:
    """Break the opcodes: what is read then is another program, of no use as weights."""
    for kind, broken in flipped(pickle, generator, count, 0, 40):
        yield f'pickle: {kind}', broken
    yield 'pickle: memory', b'\x80\x02cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\x7f\x85R.'
    yield 'pickle: lists', b'\x80\x02' + b']' * 200_000 + b'a' * 199_999 + b'.'
    yield 'pickle: tuples', b'\x80\x02)' + b'\x85' * 200_000 + b'.'


def old(data: bytes, generator: random.Random, count: int) -> Variants:
    """Break what torch before 1.6 wrote: five pickles, the weights, and no checksum."""
    yield from cut(data, generator, count)
    yield from flipped(data, generator, count)
    yield from shifted(data, generator, count // 2)
    file = io.BytesIO(data)
    ends = [[*pickletools.genops(file)] and file.tell() for _ in range(5)]
    yield from flipped(data, generator, 2 * count, 0, ends[-1])
    for kind, pickle in _flipped_program(data[ends[2] : ends[3]], generator, count):
        yield kind, data[: ends[2]] + pickle + data[ends[3] :]


def headers(data: bytes, generator: random.Random, count: int) -> Variants:
    """Break the header of a safetensors file: a length, JSON, and the weights."""
    size = int.from_bytes(data[:8], 'little')
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    for length in (0, 1, size - 1, size + 1, len(data), 1 << 30, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        yield f'header of {length}', struct.pack('<Q', length) + data[8:]
    yield from flipped(data, generator, count, 0, 8)
    first, second, *_ = [name for name in header if name != '__metadata__']
    begin, end = header[first]['data_offsets']
    changes = [('shape', [1 << 40]), ('shape', [-1]), ('dtype', 'F99')]
    offsets = [[begin, end + 1], [end, begin], [begin, 1 << 62], header[second]['data_offsets']]
    for key, value in [*changes, *(('data_offsets', pair) for pair in offsets)]:
        changed = {**header, first: {**header[first], key: value}}
        yield f'{key} {value}', _safetensors(json.dumps(changed), rest)
    yield 'a weight less', _safetensors(json.dumps({k: v for k, v in header.items() if k != first}), rest)
    for text in ('', 'null', '[]', '{', '[' * 200_000, '{"a":' * 200_000, json.dumps(header)[:-1]):
        yield f'header {text[:9]}', _safetensors(text, rest)


def _safetensors(header: str, rest: bytes) -> bytes:
    return struct.pack('<Q', len(header)) + header.encode() + rest


def _zip(records: dict[str, bytes], more: list[tuple[str, bytes]] = (), compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, record in [*records.items(), *more]:
            archive.writestr(name, record)
    return file.getvalue()


def _with(data: bytes, place: int, part: bytes) -> bytes:
    return data[:place] + part + data[place + len(part) :]
