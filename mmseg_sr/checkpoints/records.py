"""Find out, when a checkpoint is written, what in it could not be read when it is needed."""

import functools
import inspect
import io
from collections import OrderedDict
from pickle import UnpicklingError

import torch

from ..errors import UserError, one_line
from .allowed import Refused
from .reading import read_records


def fault_of(value: object, name: str = '') -> str | None:
    """Name the first record below ``value`` that would be refused, and why; tensors are left out.

    Returns:
        None where all can be read.

    Raises:
        UserError: For one that cannot be written.

    Example:
        >>> fault_of({'meta': {'when': [1, print]}})
        "['meta']['when'][1] (it asks for print)"
    """
    fault = _fault(_bare(value))
    if fault is None:
        return None
    parts = value
    if type(value) in (list, tuple):
        parts = dict(enumerate(value))
    for key, part in parts.items() if type(parts) in (dict, OrderedDict) else ():
        if found := fault_of(part, f'{name}[{key!r}]'):
            return found
    if isinstance(fault, UserError):
        raise UserError(f'the checkpoint cannot be saved: {name} in it cannot ({fault})')
    reason = Refused(name, fault).reason if isinstance(fault, UnpicklingError) else one_line(fault)[:300]
    return f'{name} ({reason})'


def _fault(value: object) -> Exception | None:
    file = io.BytesIO()
    try:
        torch.save(value, file)
    except Exception as error:  # an object can raise anything when it is to be saved
        return UserError(one_line(error)[:300])
    file.seek(0)
    try:
        read_records(file)
    except Exception as error:
        return error


def _bare(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return None
    if type(value) in (dict, OrderedDict):
        return {key: _bare(part) for key, part in value.items()}
    return type(value)(map(_bare, value)) if type(value) in (list, tuple) else value


def without_functions(schedulers: dict | list) -> dict | list:
    """Leave functions that could not be read out of the states of schedulers, which have them again when built anew."""
    if isinstance(schedulers, dict):
        return {name: without_functions(states) for name, states in schedulers.items()}
    return [{key: value for key, value in state.items() if not _acts(value)} for state in schedulers]


def _acts(value: object) -> bool:
    if inspect.isfunction(value):
        return _fault(value) is not None
    return inspect.isroutine(value) or isinstance(value, functools.partial)
