"""Say what a checkpoint may hold beside tensors: the records that mmengine keeps of a training, and nothing that acts.

torch's reader (``weights_only=True``) calls nothing but what it knows and what it is given by name. mmengine gives it
``getattr`` and numpy's own functions: with the first a file walks from an allowed object to any other, with the second
it makes arrays of arbitrary memory. Here each of these names stands for a function that makes numbers, arrays of
numbers and log histories, and refuses the rest.
"""

from pickle import UnpicklingError

import numpy as np
from mmengine.logging import HistoryBuffer

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
_FILLED = {np.ndarray, *(type(np.dtype(kind)) for kind in KINDS)}

# For torch.serialization.safe_globals.
ALLOWED = [*((each, name) for name, each in _CALLED.items()), *((kind, f'{kind}\n') for kind in _FILLED)]
