"""Every tool answers --help and wrong arguments at once, and says what people and pipes want to read."""

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from in_process import ROOT, Done, command, python
from texts_in_pages import parsers_of
from tiny_config import write_config

TOOLS = sorted((ROOT / 'tools').glob('[!_]*.py'))
COMMAND = ROOT / 'tools/mmseg-sr'
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
@pytest.mark.parametrize('tool', [*TOOLS, COMMAND], ids=lambda tool: tool.stem)
def test_a_tool_answers_before_it_imports(tool, words):
    done = python('-c', WATCH, tool, *words, check=False)
    assert done.out.endswith('imported []\n'), done.out
    if words == ['--help']:
        assert done.status == 0 and done.out.startswith('usage: ')
    else:
        assert done.err.startswith('error: ') and done.mistake == done.err.strip()


def test_what_reads_checkpoints_can_be_told_to_trust_them():
    parsers = {(tool.stem, verb): parser for tool in TOOLS for verb, parser in parsers_of(tool).items()}
    reading = [name for name, parser in parsers.items() if 'CHECKPOINT' in parser.format_usage()]
    assert len(reading) >= 9
    for name in (*reading, ('experiment', 'run')):  # which trains and tests
        assert '--trust-checkpoint' in parsers[name]._option_string_actions, name


def test_upstream_says_nothing_but_to_who_asks():
    done = python(ROOT / 'tools/inspect_checkpoint.py', RELEASED)
    assert done.document[str(RELEASED)]['sr_blocks'], 'the last line is JSON'
    assert done.err == f'{SENTENCE}\n', 'and nothing else is beside'
    assert 'Warning' in python(ROOT / 'tools/inspect_checkpoint.py', RELEASED, '--verbose').err


def test_one_command_lists_all_tools_and_runs_them():
    listed = python(COMMAND).out
    programs = [path for path in (ROOT / 'tools').iterdir() if path.suffix and not path.stem.startswith('_')]
    assert len(programs) > 15 and set(re.findall(r'^  (\w+)  +[A-Z].*[.?]$', listed, re.M)) == {
        p.stem for p in programs
    }
    assert '  test                  Evaluate a checkpoint on the test data of a config: on one GPU, or' in listed
    assert python(COMMAND, 'tets', check=False).mistake == "error: there is no command 'tets': did you mean test?"
    manual = python(COMMAND, 'make-mini-cityscapes', '--help').out
    assert (
        manual.startswith('usage: mmseg-sr make_mini_cityscapes ')
        and '    mmseg-sr make_mini_cityscapes data/' in manual
    )
    script = command(sys.executable, COMMAND, 'dist_train', 'a.py')
    assert script.status == 2 and script.err.endswith('dist_train.sh CONFIG GPUS [arguments of train.py]\n')
    for words in ([COMMAND], ['-m', 'mmseg_sr']):
        done = python(*words, 'inspect_checkpoint', RELEASED)
        assert done.document[str(RELEASED)]['sr_blocks'] and 'OneDL' not in done.out
        assert done.err.splitlines()[-1] == SENTENCE


def on_terminal(*words: object) -> Done:
    """Run Python on a terminal, which shows stdout and stderr."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', 40, 120, 0, 0))  # 120 columns
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


SLOW = """
import tqdm.std
from mmseg_sr.progress import Bar
clock = [0]
tqdm.std.time = lambda: clock[0]
for _ in Bar(range(16), 'slowly', unit='image'):
    clock[0] += 10
list(Bar(range(9), 'at once'))
"""


def test_a_bar_is_lines_where_nobody_watches():
    said = python('-W', 'ignore', '-c', SLOW).err
    steps = re.findall(r'^slowly: .* (\d+)/16 \[.*s/image\]$', said, re.M)
    assert steps == ['3', '6', '9', '12', '15', '16'], 'every 30 of 160 seconds, and at the end'
    assert said.count('\n') == len(steps) and '\r' not in said, 'what ends at once says nothing'
    shown = on_terminal('-W', 'ignore', '-c', SLOW).out
    assert '\rslowly' in shown and shown.count('at once') >= 2


def test_a_tool_whose_output_nobody_reads_ends_its_work_quietly(tmp_path):
    config = write_config(tmp_path)
    words = [sys.executable, ROOT / 'tools/train.py', config, '--cfg-options', 'train_cfg.max_iters=1']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
        list(map(str, words)), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 141 and 'Error' not in said and 'Traceback' not in said, said
    assert list(tmp_path.rglob('iter_1.pth')) and 'Saving checkpoint' in next(tmp_path.rglob('*.log')).read_text()
