"""Every tool answers --help and wrong arguments without importing torch, mmengine or the package."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = sorted((ROOT / 'tools').glob('[!_]*.py'))
WATCH = """
import atexit, runpy, sys
heavy = ('torch', 'numpy', 'mmengine', 'mmseg', 'mmseg_sr')
atexit.register(lambda: print('imported', [name for name in heavy if name in sys.modules]))
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition('/')[0])
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.mark.parametrize('words', [['--help'], ['--no-such-option']])
@pytest.mark.parametrize('tool', TOOLS, ids=lambda tool: tool.stem)
def test_a_tool_answers_before_it_imports(tool, words):
    done = subprocess.run([sys.executable, '-c', WATCH, tool, *words], capture_output=True, text=True)
    assert done.returncode == (0 if words == ['--help'] else 2)
    assert done.stdout.endswith('imported []\n'), done.stdout
    said = done.stdout if words == ['--help'] else done.stderr
    assert said.startswith('usage: ' if words == ['--help'] else 'error: ') and 'Traceback' not in said
