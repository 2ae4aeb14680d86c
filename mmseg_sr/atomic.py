"""Files that appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block ends, and not if it fails.

    A process killed inside the block leaves a hidden ``*.partial.*`` file and no ``path``.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / 'counts.json'
        >>> with replacing(target) as partial:
        ...     _ = partial.write_text('{}')
        >>> target.read_text()
        '{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.stem}.{os.getpid()}.partial{path.suffix}')
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
