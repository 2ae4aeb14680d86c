"""Run the tools as one command: ``mmseg-sr test CONFIG CHECKPOINT``, or ``python -m mmseg_sr test CONFIG CHECKPOINT``.

tools/mmseg-sr runs this file by its path and imports no package for it, so that the list of commands is there at once.
"""

import ast
import difflib
import importlib.util
import os
import re
import runpy
import signal
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
TOOLS = next(place for place in (PACKAGE.parent / 'tools', PACKAGE / '.mim/tools') if (place / '_cli.py').is_file())
HELP = """usage: mmseg-sr COMMAND ...

Networks of MMSegmentation with the Squeeze-and-Remember block. Each COMMAND prints its manual with --help:

"""


def commands() -> dict[str, Path]:
    """The programs of the folder of tools, by their names."""
    return {path.stem: path for path in sorted(TOOLS.glob('[!_]*.*')) if path.suffix in ('.py', '.sh')}


def first_sentence(program: Path) -> str:
    """The first sentence of a program's manual: of its docstring, or of the comment at its top."""
    text = program.read_text(encoding='utf-8')
    manual = ast.get_docstring(ast.parse(text)) if program.suffix == '.py' else text.partition('\n# ')[2]
    return re.match(r'.+?[.?!](?=\s|$)', manual or '', re.S)[0].replace('\n', ' ')


def run(name: str, program: Path, words: list[str]) -> None:
    """Run a program in this process."""
    if program.suffix == '.sh':  # which calls `python`
        os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", os.defpath)}'
        os.execvp('bash', ['bash', str(program), *words])
    sys.argv = [f'mmseg-sr {name}', *words]
    sys.path.insert(0, str(TOOLS))
    spec = importlib.util.spec_from_file_location(f'mmseg_sr_{name}', program)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()


def main() -> None:
    name, *words = sys.argv[1:] or ['--help']
    found = commands()
    if name in ('-h', '--help'):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads the list may stop
        width = max(map(len, found))
        print(HELP + '\n'.join(f'  {each:{width}}  {first_sentence(program)}' for each, program in found.items()))
    elif name == '--version':
        print(runpy.run_path(str(PACKAGE / 'version.py'))['__version__'])
    elif (program := found.get(name.replace('-', '_'))) is not None:
        run(program.stem, program, words)
    else:
        near = difflib.get_close_matches(name.replace('-', '_'), found, 1)
        advice = f'did you mean {near[0]}?' if near else 'mmseg-sr --help lists them'
        print(f'error: there is no command {name!r}: {advice}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()
