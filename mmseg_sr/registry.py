"""mmseg's registries, in the scope ``mmseg_sr``: mmengine looks here for what a config of that scope names.

A config of that scope is one with ``_base_ = 'mmseg_sr::...'``, or ``MMSegInferencer(..., scope='mmseg_sr')``. Each
registry is a child of mmseg's, so it knows all that mmseg and mmengine know, mmseg_sr's own among it.
"""

from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

_PARENTS = {name: parent for name, parent in vars(mmseg_registry).items() if isinstance(parent, Registry)}

globals().update(
    {
        name: Registry(parent.name, parent=parent, scope='mmseg_sr', locations=['mmseg_sr', *parent._locations])
        for name, parent in _PARENTS.items()
    }
)
__all__ = sorted(_PARENTS)
