"""Write files that appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError


@contextlib.contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block ends, and not if it fails.

    A process killed inside the block leaves a hidden ``*.partial.*`` file and ``path`` as it was, or none.

    Args:
        path: The file to make or to replace.
        durable: On the disk before the block is left, so that a power cut cannot take the file back.

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
        if durable:
            _sync(partial)
        os.replace(partial, path)
        if durable:
            _sync(path.parent)  # the name
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding='utf-8')


def check_folder(option: str, path: Path | None) -> None:
    """Refuse a place where no folder can be, before the work whose results would go there. None is left alone."""
    if path and any(place.is_file() for place in (path, *path.parents)):
        raise UserError(f'{option} needs a folder, and {path} is a file or below one')


def check_file(option: str, path: Path | None) -> None:
    """Refuse a place where no file can be, before the work whose result would go there. None is left alone."""
    if path and (path.is_dir() or any(parent.is_file() for parent in path.parents)):
        raise UserError(f'{option}: cannot write the file {path}')
