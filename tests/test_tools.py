"""Every tool answers --help and wrong arguments at once, and says what people and pipes want to read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from in_process import ROOT, Done, python

TOOLS = sorted((ROOT / 'tools').glob('[!_]*.py'))
(RELEASED,) = (ROOT / 'checkpoints').glob('fcn_r18-w16-d8-sr_*.safetensors')
SENTENCE = '1 checkpoint read, none with NaN or infinity'
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
    done = python(ROOT / 'tools/inspect_checkpoint.py', RELEASED)
    assert done.document[str(RELEASED)]['sr_blocks'], 'the last line is JSON'
    assert done.err == f'{SENTENCE}\n', 'and nothing else is beside'
    assert 'Warning' in python(ROOT / 'tools/inspect_checkpoint.py', RELEASED, '--verbose').err


def on_terminal(*words: object) -> Done:
    """Run Python on a terminal, which shows stdout and stderr."""
    ours, theirs = os.openpty()
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b''
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the last one has left the terminal
        os.close(ours)
    return Done(process.wait(), shown.decode().replace('\r\n', '\n'), '')


def test_a_terminal_gets_a_sentence_and_json_for_the_asking():
    done = on_terminal(ROOT / 'tools/inspect_checkpoint.py', RELEASED)
    assert done.status == 0 and 'hidden, norms ' in done.out and '{' not in done.out, done.out
    assert done.out.splitlines()[-1] == SENTENCE
    *_, sentence, document = on_terminal(ROOT / 'tools/inspect_checkpoint.py', RELEASED, '--json').out.splitlines()
    assert sentence == SENTENCE and json.loads(document)[str(RELEASED)]['sr_blocks']


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
