"""Compare what a config names by ``type``: the name of a class, with a scope or without one, or the class itself."""

import contextlib
import sys
from collections.abc import Callable

from mmseg import registry as registries


def kind_of(node: object, registry: str) -> Callable | None:
    """Find the class that the ``type`` of a config means; None where there is no such class, and where it has no type.

    A name without a scope is looked for in mmseg, and then in mmpretrain where that was imported.

    Args:
        node: A config, ``dict(type=...)``.
        registry: Name of mmengine's registry that knows it, as 'METRICS'.

    Example:
        >>> {kind_of(dict(type=kind), 'METRICS').__name__ for kind in ('IoUMetric', 'mmseg.IoUMetric')}
        {'IoUMetric'}
    """
    kind = node.get('type') if isinstance(node, dict) else None
    if not isinstance(kind, str):
        return kind
    with contextlib.suppress(Exception):  # a name with dots is imported, and what it names can raise anything
        known = getattr(registries, registry)
        also = '.' not in kind and 'mmpretrain' in sys.modules
        return known.get(kind) or (known.get(f'mmpretrain.{kind}') if also else None)
    return None


def is_kind(node: object, registry: str, *names: str) -> bool:
    """Tell whether the ``type`` of a config is one of these registered ``names``.

    Example:
        >>> from mmseg.evaluation import IoUMetric
        >>> [is_kind(dict(type=kind), 'METRICS', 'IoUMetric') for kind in ('mmseg.IoUMetric', IoUMetric, 'DumpResults')]
        [True, True, False]
    """
    kind = node.get('type') if isinstance(node, dict) else None
    if kind is None or isinstance(kind, str) and '.' not in kind:
        return kind in names
    found, each = kind_of(node, registry), getattr(registries, registry)
    known = [kind_of(dict(type=name), registry) for name in names]
    while each is not None:  # mmseg's Resize is another class than mmcv's, and both are registered as that
        known += [each.get(name) for name in names]
        each = each.parent
    return found is not None and found in known
