"""What somebody does who installed the wheel and has no checkout, in the empty folder where this is started.

    python .ci/installed.py          # the tools by the command mmseg-sr
    python .ci/installed.py --mim    # through mim

Draws a few streets, trains 10 iterations, goes on for 2, tests, and uses configs, models and weights by name; mim
searches them. Nothing may be installed along the way.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from mmengine import hub
from mmengine.runner import save_checkpoint
from mmseg.apis import MMSegInferencer

import mmseg_sr
from mmseg_sr.errors import UserError
from mmseg_sr.openmmlab import HOME

TRAINED = 'fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256'
RELEASED = 'fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256'
WITHOUT_WEIGHTS = 'fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024'
MINE = f"""
_base_ = 'mmseg_sr::mini_cityscapes/{TRAINED}.py'
train_cfg = dict(max_iters={{iterations}}, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=10))
"""


def run(*words: object) -> str:
    """Run a command with this Python's programs; its output."""
    print('+', *words, flush=True)
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    return subprocess.run(
        [str(word) for word in words], check=True, env={**os.environ, 'PATH': path}, stdout=subprocess.PIPE, text=True
    ).stdout


def use_tools(mim: bool) -> None:
    """Draw, train, resume and test."""

    def tool(name: str, *arguments: object) -> str:
        if mim:
            command = ['mim', 'run', 'mmseg_sr', name] if name.startswith('make') else ['mim', name, 'mmseg_sr']
            return run(*command, *arguments)
        return run('mmseg-sr', name, *arguments)

    tool('make_mini_cityscapes', 'data/mini_cityscapes', '--train', 4, '--val', 2)
    for iterations, more in ((10, []), (12, ['--resume'])):
        Path('mine.py').write_text(MINE.format(iterations=iterations))
        tool('train', 'mine.py', '--work-dir', 'work', '--seed', 0, *more)
    config = f'{TRAINED}.py' if mim else TRAINED
    tested = tool('test', config, *(['-C'] if mim else []), 'work/iter_12.pth', '--work-dir', 'tested')
    assert '"mIoU"' in tested
    if mim:
        found = run('mim', 'search', 'mmseg_sr', '--config', RELEASED)
        assert f'config id: {RELEASED}' in found and 'mini-cityscapes/miou' in found, found


def use_names() -> None:
    """Configs, models and weights by name, for mmengine and mmseg."""
    listed = MMSegInferencer.list_models('mmseg_sr')
    assert len(listed) == len(list(HOME.glob('configs/[!_]*/*.py'))) > 20, listed
    image = np.zeros((64, 128, 3), np.uint8)
    for scope in ({}, {'scope': 'mmseg_sr'}):
        for name, weights in ((RELEASED, None), (TRAINED, 'work/iter_12.pth')):
            inferencer = MMSegInferencer(name, weights=weights, device='cpu', **scope)
            assert inferencer(image)['predictions'].shape == (64, 128)
    try:
        MMSegInferencer(WITHOUT_WEIGHTS, device='cpu')
    except UserError as error:
        assert 'comes with no weights' in str(error)
    else:
        raise AssertionError(f'{WITHOUT_WEIGHTS} has weights')
    model = hub.get_model(f'mmseg_sr::fcn/{WITHOUT_WEIGHTS}.py')
    save_checkpoint({'state_dict': model.state_dict()}, 'mine.pth')
    MMSegInferencer(WITHOUT_WEIGHTS, weights='mine.pth', device='cpu')
    hub.get_model(f'mmseg_sr::mini_cityscapes/{RELEASED}.py', pretrained=True)
    hub.get_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mim', action='store_true', help='call the tools through mim')
    args = parser.parse_args()
    assert not any(Path().iterdir()), 'start it in an empty folder'
    assert HOME == Path(mmseg_sr.__file__).parent / '.mim', f'not from a wheel: {HOME}'
    before = run(sys.executable, '-m', 'pip', 'freeze')
    use_tools(args.mim)
    use_names()
    assert run(sys.executable, '-m', 'pip', 'freeze') == before
    print('from the wheel:', HOME)


if __name__ == '__main__':
    main()
