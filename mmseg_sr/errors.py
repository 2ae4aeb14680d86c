"""Answer a user's mistake by one message and exit status 2, without a traceback."""

import contextlib
import functools
import os
import select
import sys
from collections.abc import Callable, Iterator


class UserError(ValueError):
    """A mistake in what the user gave. The message says what is wrong and what to do about it."""


def command(main: Callable[..., int | None]) -> Callable[..., None]:
    """Turn ``main`` into the body of a tool that exits with a status.

    0 (or what ``main`` returns) when it ends, 2 after a :class:`UserError` (its message goes to stderr),
    130 after Ctrl-C, 141 where nobody reads its output any more, as of other programs. Any other exception is a bug of
    ours and keeps its traceback.

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
            sys.stdout.flush()
        except BrokenPipeError:
            if not _turn_unread_to_nowhere():
                raise
            status = 141  # 128 + SIGPIPE
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            status = 130
        sys.exit(status)

    return run


def _turn_unread_to_nowhere() -> bool:
    """Turn stdout and stderr, where they are pipes that nobody reads, to nowhere, and tell whether one of them was."""
    unread = []
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        unread += [descriptor for _, event in poll.poll(0) if event & select.POLLERR]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in unread:  # what is still to be flushed at the exit goes there
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return bool(unread)


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
