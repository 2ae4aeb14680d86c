"""Share what the command lines of all tools need, and import nothing heavy: help is there at once."""

import argparse
import gc
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Warnings of upstream about itself, of which a user can do nothing: --verbose shows them.
UPSTREAM = (
    'Fail to import ``MultiScaleDeformableAttention``',
    'Default ``avg_non_ignore`` is False',
    'The draw is False',
    '.* instance named of .* has been created',
    '`torch.jit.',
    '`broadcast_buffers` is deprecated',
    'The shape of value will convert',
    'DeprecationWarning: pretrained is a deprecated',
)


class Parser(argparse.ArgumentParser):
    """Parse a command line by argparse; the manual is the tool's docstring, a mistake is one line and exit status 2."""

    def __init__(self, manual: str | None = None, **kwargs):
        if manual and os.path.basename(sys.argv[0]).startswith('mmseg-sr'):
            manual = re.sub(r'python tools/(\w+)\.py', r'mmseg-sr \1', manual)
        kwargs['epilog'] = 'A mistake in what is given is one message and exit status 2.'
        super().__init__(description=manual, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
        self.sizes: list[str] = []
        # Subparsers have them too, and what stands before the command may not be forgotten by them.
        options = {'action': 'store_true', 'default': argparse.SUPPRESS}
        self.add_argument('--verbose', help="show upstream's warnings too", **options)
        self.add_argument('--json', help='print the JSON document on a terminal too', **options)

    def error(self, message: str) -> None:
        self.exit(2, f'error: {message}\n')

    def parse_known_args(self, args=None, namespace=None) -> tuple[argparse.Namespace, list[str]]:
        found, rest = super().parse_known_args(self._squared(sys.argv[1:] if args is None else [*args]), namespace)
        for name, value in vars(found).items():
            setattr(found, name, _at_home(value))
        return found, rest

    def add_size(self, option: str, group: argparse._ActionsContainer | None = None, **kwargs) -> None:
        """Add an option of height and width, to a ``group`` of options; as in mmseg's tools one number is a square."""
        self.sizes.append(option)
        (group or self).add_argument(option, **{'type': at_least(1), 'nargs': 2, 'metavar': ('H', 'W'), **kwargs})

    def _squared(self, words: list[str]) -> list[str]:
        """Write the one number of a size twice."""
        for place in [i for i, word in enumerate(words) if word in self.sizes][::-1]:
            first, second = [*words[place + 1 : place + 3], '', ''][:2]
            if first.isdigit() and not re.fullmatch(r'-?\d+', second):
                words.insert(place + 1, first)
        return words

    def add_config_options(self) -> None:
        """Add ``--cfg-options``, whose words ``mmseg_sr.options.read_options`` reads."""
        self.add_argument(
            '--cfg-options',
            nargs='+',
            action='extend',
            type=_assignment,
            default=[],
            metavar='KEY=VALUE',
            help='overwrite values of the config: train_cfg.max_iters=100 model.pretrained=None crop_size="(512,1024)"',
        )

    def add_trust(self) -> None:
        """Add ``--trust-checkpoint``, for tools that read checkpoints."""
        self.add_argument(
            '--trust-checkpoint',
            action='store_true',
            help='run what a checkpoint holds beside weights, refused otherwise; as MMSEG_SR_TRUST_CHECKPOINT=1 does',
        )

    def add_run(self) -> None:
        """Add what train.py and test.py share."""
        self.add_trust()
        self.add_argument('--work-dir', help="folder of logs and checkpoints (default: work_dirs/ and CONFIG's name)")
        self.add_config_options()
        self.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], help='what started the processes')
        # torch.distributed.launch hands over --local-rank, torch.distributed.run sets LOCAL_RANK.
        self.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def _at_home(value: object) -> object:
    """Expand a ``~`` with which a place begins: a shell does so only where a word begins."""
    if isinstance(value, list):
        return [_at_home(each) for each in value]
    if isinstance(value, (str, Path)) and (found := re.fullmatch(r'([^=~]+=)?(~.*)', str(value), re.S)):
        return type(value)((found[1] or '') + os.path.expanduser(found[2]))
    return value


def _assignment(word: str) -> str:
    if not re.match(r'[^=\s]+=', word):
        raise argparse.ArgumentTypeError(f'takes key=value (no spaces around =), got {word!r}')
    return word


def at_least(least: int) -> Callable[[str], int]:
    """Make the type of an argument that is a whole number from ``least`` on."""

    def whole(text: str) -> int:
        if not re.fullmatch(r'-?\d+', text) or int(text) < least:
            raise argparse.ArgumentTypeError(f'must be a whole number of at least {least}, got {text!r}')
        return int(text)

    return whole


def wants_json(args: argparse.Namespace) -> bool:
    """Tell whether the JSON document is to be printed: where stdout is no terminal, or --json asks for it."""
    return getattr(args, 'json', False) or not sys.stdout.isatty()


def answer(args: argparse.Namespace, sentence: str, document: dict, out: Path | None = None) -> None:
    """End a tool: say what it did, and give its JSON document.

    The sentence goes to stderr, so that stdout can be piped to what reads JSON. The document is the last line of
    stdout; on a terminal only with --json. It is written to the file ``out``, if there is one, in any case.
    """
    from mmseg_sr.atomic import write_text

    text = json.dumps(document, allow_nan=False)
    if out:
        write_text(out, f'{text}\n')
    sys.stdout.flush()
    print(sentence, file=sys.stderr, flush=True)
    if wants_json(args):
        print(text)


def counted(number: int, noun: str) -> str:
    """Write a number with its noun, which takes an s in the plural: '1 image', '1,200 images'."""
    return f'{number:,} {noun}{"s" * (number != 1)}'


def _import_once() -> None:
    """Import the package without garbage collections: what is imported stays, and to look through it takes a second."""
    gc.disable()
    import mmseg_sr  # noqa: F401

    gc.freeze()
    gc.enable()


def _log_to_stderr() -> None:
    """Let mmengine log to stderr, so that stdout has what the tool prints and no more."""
    from mmengine.logging import MMLogger

    for handler in MMLogger.get_current_instance().handlers:
        if getattr(handler, 'stream', None) is sys.stdout:
            handler.setStream(sys.stderr)


def program(parse: Callable, work: Callable[..., int | None], launched: bool = False) -> Callable[[], None]:
    """Make the ``main`` of a tool: parse the arguments, then import the package and work.

    Args:
        parse: Reads and checks the command line.
        work: Takes the arguments, returns the exit status; imports what it needs itself.
        launched: It has the options of ``add_run``, and mmengine's log on stdout, as mmseg's own tools.
    """

    def main() -> None:
        args = parse()
        verbose = getattr(args, 'verbose', False)
        for message in () if verbose else UPSTREAM:
            warnings.filterwarnings('ignore', message)
        logging.raiseExceptions = verbose  # a log that nobody reads any more (| head) is no error: the work goes on
        try:
            if 'mmseg_sr' not in sys.modules:
                _import_once()
            if not launched:
                _log_to_stderr()
            from mmseg_sr.config import TRUST
            from mmseg_sr.errors import command
            from mmseg_sr.processes import first_process_speaks
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        if getattr(args, 'trust_checkpoint', False):
            os.environ[TRUST] = '1'
        call = partial(work, args)
        if launched:
            os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
            call = first_process_speaks(call)
        command(call)()

    return main
