"""What pages give to be pasted works: own data with every command as it stands, and each recipe on top of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_config import SR, write_config
from written import PAGES, blocks_in, commands_in

from mmseg_sr.config import load_config
from mmseg_sr.experiments.plan import load

OWN = dict(blocks_in(PAGES['own'], 'python') + blocks_in(PAGES['own'], 'yaml'))
RECIPES = dict(blocks_in(PAGES['recipes'], 'python'))
# A smaller network, one iteration, no weights from elsewhere; all else is the page's.
SMALLER = [
    'model.pretrained=None', 'model.backbone.backbone.depth=18', 'model.decode_head.in_channels=512',
    'model.decode_head.channels=16', 'model.auxiliary_head.in_channels=256', 'model.auxiliary_head.channels=16',
]  # fmt: skip
SHORT = [
    'train_cfg.max_iters=1', 'default_hooks.checkpoint.interval=1',
    *(f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
      for key in ('num_workers=0', 'persistent_workers=False')),
]  # fmt: skip


def test_the_page_for_own_data_can_be_pasted(tmp_path, call):
    for name in ('mine.py', 'mine_sr.py', 'mine.yaml'):
        (tmp_path / name).write_text(OWN[name])
    generator = np.random.default_rng(0)
    for split in ('train', 'val'):  # small images of three sizes
        for index, (height, width) in enumerate([(90, 120), (64, 64), (33, 50)]):
            for kind, shape, name in (('images', (height, width, 3), 'jpg'), ('labels', (height, width), 'png')):
                path = tmp_path / f'data/mine/{kind}/{split}/{index}.{name}'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 256 if kind == 'images' else 3, shape, np.uint8)).save(path)
    ran = []
    for words in commands_in(PAGES['own']):
        tool = Path(words[1]).stem
        words = [word.replace('iter_20000', 'iter_1').replace('5', '1') for word in words[2:]]
        if tool != 'experiment':
            words += ['--batch', 1, '--shape', 64, 64] if tool == 'cost' else []
            words += ['--cfg-options', *SMALLER, *(SHORT if tool in ('train', 'test') else [])]
            done = call(tool, *words)
            assert done.status == 0, (tool, done)
            ran.append(tool)
    drawn = [path for path in tmp_path.glob('drawings/**/*.png') if path.name != 'legend.png']
    assert ran == ['check_dataset', 'train', 'test', 'cost'] and len(drawn) == 3
    planned = call('experiment', 'run', 'mine.yaml', '--print-commands')
    assert planned.status == 0 and planned.out.count('tools/train.py') == 10
    folders = [load(tmp_path / 'mine.yaml').work_dir, Path('work_dirs/mine'), Path('work_dirs/mine_sr')]
    assert len(set(folders)) == 3 and (tmp_path / folders[2] / 'iter_1.pth').is_file(), 'no two share a folder'
    base, ours = (load_config(tmp_path / name).to_dict() for name in ('mine.py', 'mine_sr.py'))
    assert ours['model'].pop('backbone')['backbone'] == base['model'].pop('backbone') and ours.pop('sr')
    assert ours.pop('work_dir') != base.pop('work_dir') and ours == base, 'they differ in the block only'


# The network of mine_sr.py, but small: three classes, and one auxiliary head.
SMALL = f"""
dataset['metainfo'] = dict(classes=('ground', 'building', 'sky'), palette=[[0], [80], [160]])
model['auxiliary_head'] = model['auxiliary_head'][0]
for head in ('decode_head', 'auxiliary_head'):
    model[head]['num_classes'] = 3
{SR}
train_cfg['val_interval'] = 1
"""


def is_on_tensorboard(folder):
    return list(folder.glob('*/vis_data/events.out.tfevents*'))


def is_on_wandb(folder):
    return list(folder.glob('*/vis_data/wandb/offline-run-*/*.wandb'))


def ended_early(folder):
    return not (folder / 'iter_4.pth').exists() and (folder / 'best_mIoU_iter_1.pth').exists()


def is_averaged(folder):
    saved = torch.load(folder / 'iter_4.pth', weights_only=False)
    name = 'decode_head.conv_seg.weight'
    return not torch.equal(saved['state_dict'][name], saved['ema_state_dict'][f'module.{name}'])


def is_weighted(folder):
    (config,) = folder.glob('*.py')
    model = Config.fromfile(config).model
    return (
        model.decode_head.loss_decode.class_weight == model.auxiliary_head.loss_decode.class_weight == [1.0, 1.5, 0.5]
    )


def has_se(folder):
    names = torch.load(folder / 'iter_4.pth', weights_only=False)['state_dict']
    return {name.split('.')[3] for name in names if '.sr.' in name} == {'excite'}


CHECKS = {
    'mine_tensorboard.py': is_on_tensorboard,
    'mine_wandb.py': is_on_wandb,
    'mine_early.py': ended_early,
    'mine_ema.py': is_averaged,
    'mine_weighted.py': is_weighted,
    'mine_se.py': has_se,
}


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_trains_and_does_what_it_says(name, tmp_path, call, monkeypatch):
    if name == 'mine_wandb.py':
        pytest.importorskip('wandb', reason='wandb is not installed')
        monkeypatch.setenv('WANDB_MODE', 'offline')
        monkeypatch.setenv('WANDB_SILENT', 'true')
    write_config(tmp_path, 'mine_sr.py', SMALL)
    (tmp_path / name).write_text(RECIPES[name])
    options = ['default_hooks.checkpoint.save_best=mIoU']
    if name == 'mine_early.py':  # no validation can be better than the first one by that much
        options += ['custom_hooks.0.min_delta=100', 'custom_hooks.0.patience=2']
    done = call('train', name, '--work-dir', tmp_path / 'work', '--cfg-options', *options)
    assert done.status == 0, done
    assert CHECKS[name](tmp_path / 'work')
