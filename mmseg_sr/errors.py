"""Answer a user's mistake by one message and exit status 2, without a traceback."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator


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


@contextlib.contextmanager
def blame(task: str, but: type[Exception] = UserError) -> Iterator[None]:
    """Turn what a wrong config raises inside a ``with`` block into a :class:`UserError`: cannot ``task``.

    Kept are those, errors of the kind ``but``, and what tells that another process is gone.
    """
    try:
        yield
    except (UserError, but):
        raise
    except Exception as error:  # what a config names can raise anything
        if type(error).__module__ == 'torch.distributed' or 'gloo/transport' in str(error):
            raise
        raise UserError(f'cannot {task}: {one_line(error)}') from error


def one_line(error: BaseException) -> str:
    """Say an error in one line; of one that a data worker hands on, the last line.

    Example:
        >>> one_line(KeyError('FCN is not in the registry'))
        'KeyError: FCN is not in the registry'
    """
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if 'Original Traceback' in text:
        return text.strip().splitlines()[-1]
    return f'{type(error).__name__}: {" ".join(text.split())}'
