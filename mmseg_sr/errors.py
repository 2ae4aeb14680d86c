"""How the command-line tools answer a user's mistake: one message, exit status 2, no traceback."""

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """A mistake in what the user gave. The message says what is wrong and what to do about it."""


def command(main: Callable[..., int | None]) -> Callable[..., None]:
    """Turn ``main`` into the body of a tool that exits with a status.

    0 (or what ``main`` returns) when it ends, 2 after a :class:`UserError` (its message goes to stderr),
    130 after Ctrl-C. Any other exception is a bug of ours and keeps its traceback.

    Example:
        >>> @command
        ... def main():
        ...     raise UserError('no such file: x.py')
        >>> main()
        Traceback (most recent call last):
        ...
        SystemExit: 2
    """

    @functools.wraps(main)
    def run(*args, **kwargs) -> None:
        try:
            status = main(*args, **kwargs)
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            status = 130
        sys.exit(status)

    return run
