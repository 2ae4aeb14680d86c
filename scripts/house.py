"""Count the house: modules and lines by place, names that stand twice, lengths of functions, at two commits.

    python scripts/house.py BEFORE AFTER --out results/house.json
    python scripts/house.py BEFORE AFTER --suites after.xml --out results/house.json

Everything is read from git, so what is counted is what is committed. --suites adds the seconds, the passed and the
failed tests of runs of the suite, from the files that `pytest --junitxml` wrote. A Markdown table is printed.
"""

import argparse
import ast
import json
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[1]
PLACES = ('mmseg_sr', 'tools', 'scripts', 'projects', 'benchmarks', 'tests')


def git(*words: str) -> str:
    return subprocess.run(['git', '-C', ROOT, *words], check=True, capture_output=True, encoding='utf-8').stdout


def count(commit: str) -> dict:
    """Count one commit."""
    names = git('ls-tree', '-r', '--name-only', commit).split('\n')
    texts = {name: git('show', f'{commit}:{name}') for name in names if name.endswith('.py') or name == 'README.md'}
    found: dict = {'commit': git('rev-parse', commit).strip()}
    for place in PLACES:
        files = [name for name in texts if name.startswith(f'{place}/')]
        found[f'{place}: files'] = len(files)
        found[f'{place}: lines'] = sum(texts[name].count('\n') for name in files)
        for kind in ('docstrings', 'empty') if place in ('mmseg_sr', 'tests') else ():
            found[f'{place}: of these {kind}'] = sum(lines_of(kind, texts[name]) for name in files)
    package = [name for name in texts if name.startswith('mmseg_sr/')]
    own = [name for name in package if not name.endswith('__init__.py')]
    found['mmseg_sr: files without __init__'] = len(own)
    twice = Counter(Path(name).name for name in own)
    found['mmseg_sr: names that stand twice'] = sum(number > 1 for number in twice.values())
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for name in package
        for node in ast.walk(ast.parse(texts[name]))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    found['mmseg_sr: lines of a function, median'] = statistics.median(lengths)
    found['mmseg_sr: lines of a function, 90 %'] = lengths[int(0.9 * len(lengths))]
    found['README: lines'] = texts['README.md'].count('\n')
    found['README: words'] = len(texts['README.md'].split())
    return found


def lines_of(kind: str, text: str) -> int:
    """Count the lines of a file that are in 'docstrings', or 'empty' outside of these."""
    inside = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            inside.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    empty = {number for number, line in enumerate(text.split('\n')[:-1], start=1) if not line.strip()}
    return len(inside if kind == 'docstrings' else empty - inside)


def suite(path: Path) -> dict:
    """Read what `pytest --junitxml` wrote."""
    (run,) = ET.parse(path).getroot().iter('testsuite')
    wrong = int(run.get('failures')) + int(run.get('errors'))
    return {
        'suite: seconds': round(float(run.get('time'))),
        'suite: passed': int(run.get('tests')) - wrong - int(run.get('skipped')),
        'suite: failed': wrong,
        'suite: skipped': int(run.get('skipped')),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('commits', nargs=2, metavar='COMMIT', help='before and after')
    parser.add_argument(
        '--suites', nargs='+', type=Path, metavar='FILE.xml', default=[], help='of pytest: after, or before and after'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.json', help='where the numbers go')
    args = parser.parse_args()
    before, after = map(count, args.commits)
    for counted, path in zip((after, before), reversed(args.suites), strict=False):
        counted |= suite(path)
    command = ' '.join(['python', 'scripts/house.py', *sys.argv[1:]])
    text = json.dumps({'command': command, 'before': before, 'after': after}, indent=1)
    args.out.write_text(f'{text}\n', encoding='utf-8')
    lines = [[key, before.get(key, '-'), after[key]] for key in after]
    print(tabulate(lines, ['', 'before', 'after'], tablefmt='github', disable_numparse=True))


if __name__ == '__main__':
    main()
