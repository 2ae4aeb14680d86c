"""Show how far a long loop is: a bar on a terminal, and a line every half minute where nobody watches."""

import sys
from typing import TextIO

from tqdm import tqdm

SECONDS = 30  # from one line to the next
DELAY = 10  # seconds in which nothing is said: what ends by then needs no line


class Bar(tqdm):
    """Wrap what is looped over as ``tqdm`` does, and take its arguments.

    Where its ``file``, stderr by default, is no terminal, what a bar draws over and over would fill a log: it is lines.

    Example:
        >>> [2 * number for number in Bar(range(3), 'double')]
        [0, 2, 4]
    """

    def __init__(self, *args, **kwargs):
        stream = kwargs.get('file') or sys.stderr
        if not stream.isatty():
            seldom = {'mininterval': SECONDS, 'maxinterval': SECONDS, 'delay': DELAY}
            kwargs = {**seldom, **kwargs, 'file': _Lines(stream)}
        super().__init__(*args, **kwargs)


class _Lines:
    """Write what a bar draws as lines: without returns to a line's start, and without moves of a cursor."""

    def __init__(self, stream: TextIO):
        self.stream, self.encoding = stream, getattr(stream, 'encoding', None)

    def write(self, text: str) -> None:
        if said := text.replace('\x1b[A', '').strip():
            self.stream.write(f'{said}\n')

    def flush(self) -> None:
        self.stream.flush()
