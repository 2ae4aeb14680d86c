"""README and pages as texts in Markdown: their code, their commands, held against the tools' own parsers."""

import re
import shlex
from functools import cache
from pathlib import Path

import texts_in_pages

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.stem: path.read_text() for path in sorted(ROOT.glob('docs/*.md'))}
ZOO = {path.parent.name: path.read_text() for path in sorted(ROOT.glob('configs/*/README.md'))}
FILES = {'README': ROOT / 'README.md', **{name: ROOT / f'docs/{name}.md' for name in PAGES}}
FILES |= {f'configs/{name}': ROOT / f'configs/{name}/README.md' for name in ZOO}
TEXTS = {name: path.read_text() for name, path in FILES.items()}

# What the scripts take before and between the arguments that they hand on.
SCRIPTS = {
    'tools/dist_train.sh': ('train', lambda words: [words[0], *words[2:]]),
    'tools/dist_test.sh': ('test', lambda words: [*words[:2], *words[3:]]),
    'tools/slurm_train.sh': ('train', lambda words: words[2:]),
    'tools/slurm_test.sh': ('test', lambda words: words[2:]),
}
parsers_of = cache(texts_in_pages.parsers_of)


def blocks_in(text: str, language: str) -> list[tuple[str, str]]:
    """The code blocks of a language: the title, '' without one, and the code."""
    return re.findall(rf'^```{language}(?: title="(.+?)")?\n(.*?)^```', text, re.M | re.S)


def hand_written(text: str) -> str:
    """A text without what commands write between cog's marks."""
    return re.sub(r'<!-- \[\[\[cog .*?\[\[\[end\]\]\] -->', '', text, flags=re.S)


def commands_in(text: str) -> list[list[str]]:
    """The words of every command in the bash blocks, without comments and without variables set before them."""
    lines = [line for _, block in blocks_in(text, 'bash') for line in block.replace('\\\n', ' ').splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.strip()]
    return [words[next(i for i, word in enumerate(words) if not re.match(r'[A-Z_]+=', word)) :] for words in found]


def mentions_in(text: str) -> list[list[str]]:
    """The words of every command with arguments that stands in a sentence or a table."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    found = re.findall(r'`((?:python )?(?:tools|benchmarks|scripts)/\w+\.(?:py|sh) [^`]+)`', text)
    return [re.sub(r'[\[\]]|\.\.\.', '', each).split() for each in found]


def parsing(command: list[str]) -> tuple[Path, list[str]]:
    """The program that reads the arguments of a command, and these arguments."""
    words = command[1:] if command[0] == 'python' else command
    if words[0] == 'mmseg-sr':
        words = [f'tools/{words[1]}.py', *words[2:]]
    assert (ROOT / words[0]).is_file(), f'there is no {words[0]}: {command}'
    if words[0] in SCRIPTS:
        name, arguments = SCRIPTS[words[0]]
        return ROOT / f'tools/{name}.py', arguments(words[1:])
    return ROOT / words[0], words[1:]


def check_arguments(command: list[str]) -> None:
    """Parse a command of a bash block by the parser of its tool, which leaves with status 2 what it does not know."""
    program, words = parsing(command)
    try:
        _parser(program, words).parse_args(words[1:] if '' not in parsers_of(program) else words)
    except SystemExit:
        raise AssertionError(f'{program.name} does not take {words}') from None


def check_options(command: list[str]) -> None:
    """Hold the options of a command that is mentioned against its tool's."""
    program, words = parsing(command)
    known = _parser(program, words)._option_string_actions
    for word in words:
        assert not word.startswith('--') or word in known, f'{program.name} has no {word}: {command}'


def check_files(words: list[str]) -> None:
    """Files of this project that a command names are there."""
    for word in words:
        if re.match(r'(configs|experiments|checkpoints)/.*\.\w+$', word):
            assert (ROOT / word).is_file(), f'there is no {word}: {words}'


def _parser(program: Path, words: list[str]):
    parsers = parsers_of(program)
    assert '' in parsers or words[0] in parsers, f'{program.name} has no {words[0]}'
    return parsers.get('') or parsers[words[0]]
