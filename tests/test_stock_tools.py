"""mmseg's own tools work on the configs of this project, as the page for people who come from mmseg says."""

import re
from pathlib import Path

import mmseg
import pytest
from drawn_streets import make_mini_cityscapes
from in_process import ROOT, call, python
from written import PAGES

TOOLS = Path(mmseg.__file__).parent / '.mim/tools'
CONFIG = ROOT / 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
SHORT = ['--cfg-options', 'train_cfg.max_iters=1', 'default_hooks.checkpoint.interval=1']


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with some drawn streets, and a network that the stock tool has trained on them."""
    home = tmp_path_factory.mktemp('home')
    make_mini_cityscapes(home / 'data/mini_cityscapes', train=4, val=2)
    python(TOOLS / 'train.py', CONFIG, '--work-dir', 'work', *SHORT, cwd=home)
    return home


def test_the_stock_test_scores_what_ours_does(home):
    weights = home / 'work/iter_1.pth'
    theirs = python(TOOLS / 'test.py', CONFIG, weights, '--tta', '--work-dir', 'test', cwd=home)
    ours = call('test', CONFIG, weights, '--tta', '--work-dir', home / 'ours', folder=home).document['metrics']
    (line,) = [line for line in theirs.out.splitlines() if 'Iter(test) [2/2]' in line]
    scores = dict(re.findall(r'\s(\S+): ([\d.]+)', line))
    assert {name: float(scores[name]) for name in ('mIoU', 'mAcc', 'aAcc')} == {
        name: pytest.approx(ours[name], abs=1e-4) for name in ('mIoU', 'mAcc', 'aAcc')
    }


def test_the_stock_browser_draws_the_data(home):
    tool = TOOLS / 'analysis_tools/browse_dataset.py'
    python(tool, CONFIG, '--not-show', '--output-dir', 'drawn', cwd=home)
    assert len(list((home / 'drawn').rglob('*.png'))) == 4


def test_the_page_names_every_stock_tool_and_no_other():
    named = set(re.findall(r'^\| (.*?) \|', PAGES['coming-from-mmseg'].partition('## Habits')[0], re.M))
    named = {word.split()[0] for cell in named for word in re.findall(r'`([^`]+)`', cell) if not word.startswith('-')}
    there = {path.relative_to(TOOLS).as_posix() for path in TOOLS.rglob('*.[ps][yh]')}
    there = {name for name in there if not name.startswith(('dataset_converters/', 'model_converters/', 'torchserve/'))}
    doubled = {'misc/browse_dataset.py'}  # an older form of that in analysis_tools/
    folders = {'dataset_converters/', 'model_converters/', 'demo/image_demo.py', 'demo/video_demo.py'}
    assert named == there - doubled | folders
