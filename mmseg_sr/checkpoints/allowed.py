"""Say what a checkpoint may hold beside tensors: the records that mmengine keeps of a training, and nothing that acts.

torch's reader (``weights_only=True``) calls nothing but what it knows and what it is given by name. mmengine gives it
``getattr`` and numpy's own functions: with the first a file walks from an allowed object to any other, with the second
it makes arrays of arbitrary memory. Here each of these names stands for a function that makes a number, an array, a
path, a date or a log history, and refuses the rest.
"""

import datetime
import pathlib
import re
from collections.abc import Callable
from pickle import UnpicklingError

import numpy as np
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler as OneCycle

from ..config import TRUST
from ..errors import UserError

KINDS = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')
TEXT = r'[US]\d{1,6}'
HISTORY = {'_log_history', '_count_history', 'max_length'}


class _Kind:
    """``numpy.dtype`` of numbers or text, of which a file can set the byte order, and no flags."""

    __hash__ = None

    def __init__(self, kind: str, align: bool = False, copy: bool = False):
        if kind not in KINDS and not re.fullmatch(TEXT, str(kind)):
            raise UnpicklingError(f'an array of {kind!r} is not of numbers')
        self.kind, self.made = kind, np.dtype(kind)

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ('<', '>', '|'):
            raise UnpicklingError(f'a byte order of {state[1]!r}')
        self.made = np.dtype(f'{state[1]}{self.kind}')


class _Array:
    """``numpy.ndarray`` of numbers or text, for as long as a file is read: :func:`made` takes out what was made."""

    __hash__ = None

    def __init__(self, *_: object):
        self.made = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, data = state
        kind = made(kind)
        if not isinstance(kind, np.dtype) or type(data) is not bytes:
            raise UnpicklingError('an array holds more than numbers')
        self.made = np.ndarray(shape, kind, bytearray(data), order='F' if by_columns else 'C').copy(order='K')


def made(value: object, memo: dict[int, object] | None = None) -> object:
    """Put numpy's arrays and types, wherever they lie in what was read, in the place of what stands for them."""
    memo = {} if memo is None else memo
    if isinstance(value, (_Kind, _Array)):
        return value.made
    if id(value) in memo or not (isinstance(value, (dict, list)) or type(value) is tuple):
        return memo.get(id(value), value)
    memo[id(value)] = value
    if isinstance(value, tuple):
        parts = tuple(made(part, memo) for part in value)
        if any(part is not other for part, other in zip(parts, value, strict=True)):
            memo[id(value)] = parts
        return memo[id(value)]
    for key, part in list(dict.items(value) if isinstance(value, dict) else enumerate(value)):
        value[key] = made(part, memo)
    return value


def _number(kind: _Kind, data: bytes) -> np.generic:
    """``numpy._core.multiarray.scalar``."""
    kind = made(kind)
    if not isinstance(kind, np.dtype) or not isinstance(data, bytes) or len(data) != kind.itemsize:
        raise UnpicklingError('a number is not of the size of its type')
    return np.ndarray((), kind, data)[()]


class _History(HistoryBuffer):
    """A ``HistoryBuffer`` that takes numbers only. What the file calls a statistic is left out: mmengine has them."""

    def __init__(self, *_: object):
        raise UnpicklingError('a log history is not made by a call')

    def __setstate__(self, state: dict) -> None:
        state = {key: made(value) for key, value in state.items() if key != 'statistics_methods'}
        arrays = [value for key, value in state.items() if key != 'max_length']
        if state.keys() != HISTORY or any(type(each) is not np.ndarray or each.dtype.kind in 'US' for each in arrays):
            raise UnpicklingError('a log history holds more than numbers')
        super().__setstate__(state)
        self.__class__ = HistoryBuffer


class _OneCycle:
    """``OneCycleParamScheduler``, whose state names the curve that it follows."""


_ATTRIBUTES = {(_History, name): None for name in ('min', 'max', 'current', 'mean')}
_ATTRIBUTES |= {(_OneCycle, name): getattr(OneCycle, name) for name in ('_annealing_cos', '_annealing_linear')}


def _attribute(owner: object, name: str) -> Callable | None:
    """``getattr``, by which a log history names its statistics and a OneCycleLR its curve; the first are left out."""
    if (owner, name) not in _ATTRIBUTES:
        raise UnpicklingError(f'getattr(..., {name!r})')
    return _ATTRIBUTES[owner, name]


def _by(make: Callable) -> Callable:
    """Make something by a call, and no more: a file can set the state of what it names itself."""
    return lambda *arguments: make(*arguments)


_PATHS = (type(pathlib.Path()), pathlib.PurePosixPath, pathlib.PureWindowsPath)
_PLAIN = [
    *(('builtins', kind) for kind in (frozenset, slice)),
    *(('datetime', getattr(datetime, name)) for name in ('date', 'datetime', 'time', 'timedelta', 'timezone')),
    *((module, kind) for module in ('pathlib', 'pathlib._local') for kind in _PATHS),  # the second since Python 3.13
    ('mmengine.config.config', ConfigDict),
]
_CALLED = {
    **{f'{module}.{kind.__name__}': _by(kind) for module, kind in _PLAIN},
    'builtins.bytes': lambda: b'',  # of length 0, as pickle's protocol 2 says it
    'builtins.getattr': _attribute,
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler': _OneCycle,
    'numpy.dtype': _Kind,
    'numpy.ndarray': _Array,
    **{f'numpy.{core}.multiarray._reconstruct': _Array for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': _number for core in ('core', '_core')},
}

# For torch.serialization.safe_globals.
ALLOWED = [(each, name) for name, each in _CALLED.items()]


class Refused(UserError):
    """A whole checkpoint asks for what may not be run. ``reason`` says for what, of torch's advice of ten lines."""

    def __init__(self, name: object, error: UnpicklingError):
        asked = re.search(r'GLOBAL (?:builtins\.|__builtin__\.)?(\S+)', str(error))  # torch 2.6 says whose eval
        said = str(error).rpartition('WeightsUnpickler error: ')[2].strip().split('\n')[0][:300]
        self.reason = f'it asks for {asked[1]}' if asked else said
        super().__init__(
            f'{name} was refused and nothing in it was run: it is no checkpoint of weights and numbers alone '
            f'({self.reason}). To run what it holds, if you trust who made it: --trust-checkpoint, or {TRUST}=1'
        )
