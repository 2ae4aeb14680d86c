"""Measure how much memory tensors hold at the most while something runs, on any device: counted, not sampled."""

import weakref
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


def peak_bytes(call: Callable[[], object], held: Iterable[Tensor] = ()) -> int:
    """Run ``call`` and count the bytes of all tensors that were alive at once in it.

    What one kernel needs inside itself is not seen, nor what runs under ``torch.compile``. Tensors from before that are
    ``held``, such as weights, count too.

    Example:
        >>> import torch
        >>> x = torch.ones(1000)
        >>> peak_bytes(lambda: (x + 1) + 1, held=[x])
        12000
    """
    counter = _Counter()
    for tensor in held:
        counter.add(tensor)
    with counter:
        call()
    return counter.peak


class _Counter(TorchDispatchMode):
    """Add the storage of every tensor that an operation gives out, and take it off when it is freed."""

    def __init__(self):
        super().__init__()
        self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.add, out)
        return out

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata  # of the storage itself: a new one may lie where an old one lay only after that is freed
        if key not in self._known:
            self._known.add(key)
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._free, key, storage.nbytes())

    def _free(self, key: int, count: int) -> None:
        self._known.discard(key)
        self.alive -= count
