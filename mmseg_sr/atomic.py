"""Write files that appear whole or not at all."""

import contextlib
import csv
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError, one_line


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
    partial = _partial(path)
    try:
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
        if durable:
            _sync(path.parent)  # the name
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f'.{path.stem}.{os.getpid()}.partial{path.suffix}')


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


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with the same keys as a CSV file, whole or not at all."""
    with replacing(path) as partial, partial.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def check_folder(option: str, path: Path | None) -> None:
    """Refuse a place where no folder can be written, before the work whose results would go there, by trying it.

    A path of None is left alone.
    """
    if path and any(place.exists() and not place.is_dir() for place in _above(option, path / 'file')):
        raise UserError(f'{option} needs a folder, and {path} is a file or below one')


def check_file(option: str, path: Path | None) -> None:
    """Refuse a place where no file can be written, before the work whose result would go there. None is left alone."""
    if path is None:
        return
    taken = not path.name or (os.path.exists(path) and not path.is_file())
    if taken or any(place.exists() and not place.is_dir() for place in _above(option, path)):
        raise UserError(f'{option}: cannot write the file {path}')


def _above(option: str, path: Path) -> list[Path]:
    """The folders above a file that is to be written; the nearest that is there is tried."""
    try:
        _partial(path).exists()  # its name may be too long
        nearest = next(place for place in path.parents if os.path.lexists(place))
        if nearest.is_dir() or not nearest.exists():
            tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise UserError(f'{option}: cannot write below {path.parent}: {one_line(error)}') from error
    return list(path.parents)
