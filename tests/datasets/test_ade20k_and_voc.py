"""The configs for ADE20K and PASCAL VOC are mmseg's recipes, and run by the tools on data in mmseg's layouts."""

from pathlib import Path

import mmseg
import numpy as np
import pytest
from in_process import ROOT
from mmengine.config import Config
from PIL import Image

NAMES = {'ade20k': 'fcn_r50-d8{}_4xb4-80k_ade20k-512x512', 'voc12aug': 'fcn_r50-d8{}_4xb4-20k_voc12aug-512x512'}
# The network is made small, and by the options what it is tested on; the rest is the config's.
SMALL = """
_base_ = {config!r}
model = dict(
    pretrained=None,
    backbone=dict(backbone=dict(depth=18, base_channels=8, stem_channels=8)),
    decode_head=dict(in_channels=64, channels=8),
    auxiliary_head=dict(in_channels=32, channels=8),
)
"""
OPTIONS = [
    'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False', 'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False', 'train_dataloader.batch_size=1', 'train_cfg.max_iters=1',
    'default_hooks.checkpoint.interval=1', 'val_dataloader.dataset.pipeline.1.scale=(256,64)',
    'test_dataloader.dataset.pipeline.1.scale=(256,64)',
]  # fmt: skip


@pytest.mark.parametrize('kind', NAMES)
def test_the_recipe_is_that_of_mmseg(kind):
    name = f'fcn/{NAMES[kind].format("")}.py'
    ours = Config.fromfile(ROOT / 'configs' / name)
    theirs = Config.fromfile(Path(mmseg.__file__).parent / '.mim/configs' / name)
    for key in (
        'model',
        'optim_wrapper',
        'param_scheduler',
        'train_cfg',
        'tta_pipeline',
        'train_dataloader',
        'val_dataloader',
    ):
        assert plain(ours[key]) == plain(theirs[key]), key


def plain(node):
    """A value of a config, without what says the same as leaving it out."""
    if isinstance(node, dict):
        # The data set has reduce_zero_label, and the loading of labels takes it from there.
        return {key: plain(value) for key, value in node.items() if key not in ('reduce_zero_label', 'backend_args')}
    return [plain(each) for each in node] if isinstance(node, (list, tuple)) else node


def write(images: Path, labels: Path, name: str, ids: np.ndarray) -> None:
    for path, array in ((images / f'{name}.jpg', np.repeat(ids[..., None], 3, 2)), (labels / f'{name}.png', ids)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(path)


@pytest.fixture
def ade20k(tmp_path, monkeypatch):
    """Four images and labels from 0, which is void, to 150."""
    monkeypatch.setenv('ADE20K_ROOT', str(tmp_path))
    ids = np.random.default_rng(0).integers(0, 151, (4, 12, 8)).repeat(8, 1).repeat(8, 2)
    for index, split in enumerate(['training', 'training', 'validation', 'validation']):
        write(tmp_path / f'images/{split}', tmp_path / f'annotations/{split}', f'ADE_{index}', ids[index])
    return tmp_path / 'annotations/validation', 150, 1


@pytest.fixture
def voc12aug(tmp_path, monkeypatch):
    """Two images with VOC's labels, one with SBD's and two to test; 255 is void."""
    monkeypatch.setenv('VOC_ROOT', str(tmp_path))
    ids = np.random.default_rng(0).integers(0, 22, (5, 12, 8)).repeat(8, 1).repeat(8, 2)
    ids[ids == 21] = 255
    lists = dict(train=('a', 'b'), aug=('c',), val=('d', 'e'))
    (tmp_path / 'ImageSets/Segmentation').mkdir(parents=True)
    for split, names in lists.items():
        (tmp_path / f'ImageSets/Segmentation/{split}.txt').write_text('\n'.join(names))
        for name in names:
            labels = tmp_path / ('SegmentationClassAug' if split == 'aug' else 'SegmentationClass')
            write(tmp_path / 'JPEGImages', labels, name, ids['abcde'.index(name)])
    return tmp_path / 'SegmentationClass', 21, 0


def mean_iou(out: Path, labels: Path, classes: int, first: int) -> float:
    """Counted class by class over the files that were written; ``first`` is the id of class 0 in them."""
    pairs = [[np.array(Image.open(each)) for each in (path, labels / path.name)] for path in sorted(out.glob('*.png'))]
    assert len(pairs) == 2 and all(predicted.min() >= first for predicted, _ in pairs)
    found = []
    for value in range(first, first + classes):
        both = [(p == value, t == value, (t >= first) & (t < first + classes)) for p, t in pairs]
        union = sum(((p & known) | t).sum() for p, t, known in both)
        if union:
            found.append(sum((p & t).sum() for p, t, _ in both) / union)
    return 100 * sum(found) / len(found)


@pytest.mark.parametrize('kind', NAMES)
def test_the_tools_check_train_and_test_it(kind, request, call, tmp_path):
    labels, classes, first = request.getfixturevalue(kind)
    config = tmp_path / 'small.py'
    config.write_text(SMALL.format(config=str(ROOT / f'configs/fcn/{NAMES[kind].format("-sr")}.py')))
    checked = call('check_dataset', config)
    assert checked.status == 0, checked
    options = ['--cfg-options', *OPTIONS]
    done = call('train', config, '--work-dir', tmp_path / 'work', *options)
    assert done.status == 0, done
    tested = call('test', config, tmp_path / 'work/iter_1.pth', '--out', tmp_path / 'out', *options)
    assert tested.document['metrics']['mIoU'] == pytest.approx(mean_iou(tmp_path / 'out', labels, classes, first))
