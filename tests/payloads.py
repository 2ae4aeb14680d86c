"""Checkpoints that ask their reader to run code: as long as the file at ``mark`` is not there, nothing ran."""

import os
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


class Call:
    """Pickled it is a call, which the file asks its reader to make."""

    def __init__(self, function: object, *arguments: object):
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call

    def __str__(self) -> str:
        return f'{self.call[0].__name__}{self.call[1]}'


def code(mark: Path) -> str:
    return f'open({str(mark)!r}, "w").close()'


def by_getattr(mark: Path) -> Call:
    """Call ``exec`` by names that mmengine allows a checkpoint, and torch's own ``_rebuild_from_type_v2``."""
    rebuild = torch._tensor._rebuild_from_type_v2  # calls what it is given
    look_up = Call(getattr, Call(getattr, HistoryBuffer.mean, '__builtins__'), 'get')
    run = Call(rebuild, look_up, Call(getattr, look_up, '__class__'), ('exec',), None)
    return Call(rebuild, run, Call(getattr, None, '__class__'), (code(mark),), None)


PAYLOADS = {
    'os.system': lambda mark: Call(os.system, f'touch "{mark}"'),
    'exec': lambda mark: Call(exec, code(mark)),
    'getattr': by_getattr,
    'in an array': lambda mark: np.array([Call(exec, code(mark))], dtype=object),
    'in a log history': lambda mark: Call(HistoryBuffer, [Call(exec, code(mark))], [1]),
}
FORMATS = {
    'zip': {},
    'zip, protocol 4': {'pickle_protocol': 4},
    'before torch 1.6': {'_use_new_zipfile_serialization': False},
}


def save(payload: object, path: Path, checkpoint: dict | None = None, **options: object) -> Path:
    """A checkpoint with a payload."""
    torch.save({**(checkpoint or {'state_dict': {'w': torch.ones(1)}}), 'extra': payload}, path, **options)
    return path
