"""Every tool answers --help and wrong arguments at once, and leaves upstream's warnings out."""

from pathlib import Path

import pytest
from in_process import ROOT, python

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
    done = python('-c', WATCH, tool, *words, check=False)
    assert done.out.endswith('imported []\n'), done.out
    if words == ['--help']:
        assert done.status == 0 and done.out.startswith('usage: ')
    else:
        assert done.err.startswith('error: ') and done.mistake == done.err.strip()


def test_upstream_says_nothing_but_to_who_asks():
    (released,) = (ROOT / 'checkpoints').glob('fcn_r18-w16-d8-sr_*.safetensors')
    done = python(ROOT / 'tools/inspect_checkpoint.py', released)
    assert done.err == '' and done.document[str(released)]['sr_blocks'], 'the last line is JSON, and nothing is beside'
    assert 'Warning' in python(ROOT / 'tools/inspect_checkpoint.py', released, '--verbose').err


def test_a_tilde_is_home_wherever_a_place_is_given(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    monkeypatch.setenv('HOME', '/home/me')
    from _cli import Parser

    parser = Parser()
    parser.add_argument('config')
    parser.add_argument('--out', type=Path)
    parser.add_argument('--images', nargs='+', type=Path)
    parser.add_config_options()
    args = parser.parse_args(['~/a.py', '--out=~/o', '--images', '~/i', 'b~', '--cfg-options', 'load_from=~/w', 'a=b~'])
    assert (args.config, args.out, args.images) == (
        '/home/me/a.py',
        Path('/home/me/o'),
        [Path('/home/me/i'), Path('b~')],
    )
    assert args.cfg_options == ['load_from=/home/me/w', 'a=b~']
