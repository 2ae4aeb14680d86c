"""The manuals of the tools: the docstrings of their modules, and the options of their own parsers."""

import argparse
import ast
import importlib.util
import sys
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]


class _Parsed(BaseException):
    """Ends a tool where it would read its command line. No Exception: nothing on the way may catch it."""


def tools() -> list[str]:
    """Names of all tools that are Python programs."""
    return sorted(path.stem for path in (ROOT / 'tools').glob('*.py'))


def docstring_of(path: Path) -> str:
    """The docstring of a module, which is not imported."""
    return ast.get_docstring(ast.parse(path.read_text())) or ''


def parser_of(path: Path) -> argparse.ArgumentParser:
    """The parser of a program, taken where its ``main`` reads the command line."""

    def stop(parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        raise _Parsed(parser)

    name = f'manual_{path.stem}'
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look a module up by its name
    with mock.patch.object(argparse.ArgumentParser, 'parse_args', stop), mock.patch.object(sys, 'path', [*sys.path]):
        spec.loader.exec_module(module)
        try:
            module.main()
        except _Parsed as parsed:
            return parsed.args[0]
    raise ValueError(f'{path} reads no command line')


def parsers_of(path: Path) -> dict[str, argparse.ArgumentParser]:
    """A program's parser by '', or those of its subcommands by their names."""
    parser = parser_of(path)
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(below[0].choices) if below else {'': parser}


def rows_of(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """What a parser takes, and what for: how an argument is written, and its help."""
    formatter = argparse.HelpFormatter('', width=1000, max_help_position=200)
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS and action.dest != 'help']
    return [
        (formatter._format_action_invocation(action), formatter._expand_help(action) if action.help else '')
        for action in shown
    ]
