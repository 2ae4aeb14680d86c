"""What the log of a running or failed tool tells: how far it is, and its last words."""

import re
from pathlib import Path

STEP = re.compile(rb'Iter\((?:train|test)\)\s*\[\s*(\d+)/(\d+)\]')


def progress(log: Path) -> tuple[int, int]:
    """The iteration and the number of iterations that mmengine logged last; (0, 1) where it has not.

    Example:
        >>> import tempfile
        >>> log = Path(tempfile.mkdtemp()) / 'train.log'
        >>> _ = log.write_text('Iter(train) [ 50/300]  lr: 0.01\\nIter(train) [100/300]  lr: 0.01\\nIter(val) [1/9]')
        >>> progress(log)
        (100, 300)
    """
    found = STEP.findall(_tail(log))
    return (int(found[-1][0]), max(int(found[-1][1]), 1)) if found else (0, 1)


def last_words(log: Path) -> str:
    """The message of one of our tools if there is one, else the last line."""
    lines = [line.strip() for line in _tail(log).decode(errors='replace').splitlines() if line.strip()]
    messages = [line for line in lines if line.startswith('error: ')]
    return (messages or lines or ['no output'])[-1]


def _tail(path: Path, size: int = 8192) -> bytes:
    try:
        with path.open('rb') as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read()
    except OSError:
        return b''
