"""Write the numbers of README.md, docs/*.md and configs/*/README.md, from the files that commands wrote.

    python scripts/numbers_in_pages.py            # or: make numbers
    python scripts/numbers_in_pages.py --check    # write nothing; exit status 5 and the differences where a page is old

A place for numbers is two comments, which cog (cogapp) finds. The first calls a function of this file or of one of
the *_in_pages.py beside it; what the function shows stands between them:

    <!-- [[[cog differences('camvid_cpu') ]]] -->
    <!-- [[[end]]] -->
"""

import json
import re
import sys
from pathlib import Path

import yaml
from cogapp import Cog

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
CALLS = '; '.join(f'from {name}_in_pages import *' for name in ('numbers', 'experiments', 'costs', 'texts'))
PAGES = ('README.md', 'docs/*.md', 'configs/*/README.md')


def main(options: list[str]) -> int:
    """Let cog run the calls in README.md and all pages."""
    pages = sorted(str(path) for pattern in PAGES for path in ROOT.glob(pattern))
    mode = ['--check', '--diff'] if options == ['--check'] else ['-r', *options]
    return Cog().main(['cog', '--verbosity=1', *mode, '-n', 'utf-8', '-I', str(SCRIPTS), '-p', CALLS, *pages])


def read(name: str) -> dict:
    """A JSON or YAML file of the project, such as results/cost.json."""
    text = (ROOT / name).read_text(encoding='utf-8')
    return yaml.safe_load(text) if name.endswith('.yaml') else json.loads(text)


def show(text: str) -> None:
    """Write a text between the two comments."""
    import cog  # there only while cog runs

    cog.outl(f'\n{text}\n')


def say(text: str, *names: str) -> None:
    """Write a text, filled in by str.format: {0[rows][0][seconds]} is a field of the first file."""
    show(re.sub(r'(?<=\d)%', ' %', text.format(*map(read, names))))


def grid(heads: str, lines: list[list]) -> str:
    """Rows as a table in Markdown; columns of numbers go to the right."""
    cells = [[str(cell) for cell in line] for line in lines]
    right = [all(re.match(r'[-+]?\d|-$', cell) for cell in column) for column in zip(*cells, strict=True)]
    marks = ['---:' if each else '---' for each in right]
    return '\n'.join(f'| {" | ".join(line)} |' for line in [heads.split(' | '), marks, *cells])


def table(heads: str, lines: list[list]) -> None:
    """Write a table."""
    show(grid(heads, lines))


def rows(name: str, keys: str, heads: str, row: str) -> None:
    """Write a table of the rows below the ``keys`` (a/b) of a file; ``row`` is filled in as in `say`."""
    found = read(name)
    for key in keys.split('/'):
        found = found[key]
    table(heads, [re.sub(r'(?<=\d)%', ' %', row.format(**each)).split(' | ') for each in found])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
