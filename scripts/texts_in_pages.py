"""Texts that pages take from the code: the tools' manuals, mmseg's networks with the block, the notebook.

numbers_in_pages.py says how a page calls them. The manual of a tool is the docstring of its module and the options of
its own parser.
"""

import argparse
import ast
import html
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from unittest import mock

import nbformat
from numbers_in_pages import ROOT, grid, read, show


class _Parsed(BaseException):
    """Ends a tool where it would read its command line. No Exception: nothing on the way may catch it."""


def docstring_of(path: Path) -> str:
    """The docstring of a module, which is not imported."""
    return ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''


def parsers_of(path: Path) -> dict[str, argparse.ArgumentParser]:
    """Take a program's parser, by '', or those of its subcommands, by their names, where its main would use them."""

    def stop(parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        raise _Parsed(parser)

    name = f'manual_{path.stem}'
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look a module up by its name
    places = [str(path.parent), *sys.path]  # as where it is started by its path
    ways = dict(parse_args=stop, parse_intermixed_args=stop)
    with mock.patch.multiple(argparse.ArgumentParser, **ways), mock.patch.object(sys, 'path', places):
        spec.loader.exec_module(module)
        try:
            module.main()
        except _Parsed as parsed:
            (parser,) = parsed.args
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(below[0].choices) if below else {'': parser}


def commands() -> None:
    """Write the manual of every tool."""
    parts = []
    for path in sorted(ROOT.glob('tools/[!_]*.py')):
        paragraphs = [_paragraph(text) for text in docstring_of(path).split('\n\n')]
        options = {verb or 'argument': _rows(parser) for verb, parser in parsers_of(path).items()}
        tables = [grid(f'{head} | what for', rows) for head, rows in options.items() if rows]
        parts += [f'## tools/{path.name}', *paragraphs, *tables]
    show('\n\n'.join(parts))


def _rows(parser: argparse.ArgumentParser) -> list[list[str]]:
    """How each argument is written, and its help; a bar would end the cell."""
    formatter = argparse.HelpFormatter('', width=1000, max_help_position=200)
    shown = [
        action
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest not in ('help', 'verbose', 'json')
    ]
    written = [re.sub(r' ?\| ?', ' or ', formatter._format_action_invocation(action)) for action in shown]
    texts = [formatter._expand_help(action) if action.help else '' for action in shown]
    return [[f'`{each}`', _plain(text)] for each, text in zip(written, texts, strict=True)]


def _paragraph(text: str) -> str:
    """A paragraph of a manual in Markdown; an indented one is code."""
    return f'```text\n{inspect.cleandoc(text)}\n```' if text.startswith(' ') else _plain(text)


def _plain(text: str) -> str:
    """A text in Markdown: words in backquotes, and options, are code, and nothing else means anything."""
    words = re.split(r'(`[^`]+`|(?<![\w-])--[a-z0-9-]+)', text)
    words[1::2] = [f'`{code.strip("`")}`' for code in words[1::2]]
    words[::2] = [re.sub(r'([\\`*_\[\]|])', r'\\\1', html.escape(each, quote=False)) for each in words[::2]]
    return ''.join(words)


def experiment_file(module: str) -> None:
    """Write the example of an experiment: what follows the first sentence of a module's docstring."""
    show(f'```yaml\n{docstring_of(ROOT / module).partition(chr(10) * 2)[2]}\n```')


def segmentors() -> None:
    """Write what the block costs in networks of mmseg, by benchmarks/segmentors.py."""
    found, cells = read('results/segmentors.json')['rows'], []
    for row in found:
        memories = [' x '.join(map(str, shape)) for shape in row['places'].values()]
        times = [row['ratio'][what] for what in ('train', 'predict')]
        cells.append([row['network'], '<br>'.join(f'`{place}`' for place in row['places']), '<br>'.join(memories)])
        cells[-1] += [f'{row["parameters"]:,}', f'+{row["percent"]:.2f} %', 'x'.join(map(str, row['size']))]
        cells[-1] += [f'x {each["ratio"]:.2f} [{each["low"]:.2f}, {each["high"]:.2f}]' for each in times]
    heads = 'network | block | memory P x C x H x W | parameters with it | added'
    last = found[-1]
    processor = last['machine']['gpu'] or last['machine']['cpu']
    how = f'{last["rounds"]} rounds, 1 thread, {processor}, {last["date"][:10]}; in brackets 95 % intervals.'
    show(f'{grid(f"{heads} | timed at | training step | prediction", cells)}\n\n{how}')


def segmentor_configs() -> None:
    """Write the config of each of these networks, and the stages that can take a block."""
    parts = []
    for row in read('results/segmentors.json')['rows']:
        stages = ', '.join(f'`{stage}`' for stage in row['stages']) or 'none, so SRNeck'
        code = f'```python\n{row["lines"].rstrip()}\n```'
        parts += [f'### {row["network"]}', code, f'Stages that `SRBackbone` can take: {stages}.']
    show('\n\n'.join(parts))


def tour() -> None:
    """Write the notebook with its outputs; docs/tour/ has its pictures, by their order."""
    parts, count = [], 0
    for cell in nbformat.read(ROOT / 'docs/tour.ipynb', as_version=4).cells:
        parts.append(cell.source if cell.cell_type == 'markdown' else f'```python\n{cell.source}\n```')
        for output in cell.get('outputs', []):
            data = output.get('data', {'text/plain': output.get('text', '')})
            if 'image/png' in data:
                count += 1
                parts.append(f'![{output.metadata["image/png"]["alt"]}](tour/{count}.png)')
            else:
                parts.append(data.get('text/markdown') or f'```text\n{data["text/plain"].rstrip()}\n```')
    show('\n\n'.join(parts))
