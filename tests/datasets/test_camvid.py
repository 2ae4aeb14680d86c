"""On real street scenes and real weights: everything is read, and the pair starts as one."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmseg_sr.config import load_config
from mmseg_sr.datasets.build import SOURCES, advice_on
from mmseg_sr.datasets.camvid import CamVidDataset

BASELINE = 'configs/camvid/fcn_m-v2-d16_1xb8-800_camvid-160x160.py'
IDD_LITE = 'configs/idd_lite/fcn_lite0-d16_1xb8-800_idd-lite-160x160.py'
SR = 'configs/camvid/fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py'


def initialised(cfg) -> torch.nn.Module:
    init_default_scope('mmseg')
    set_random_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    return model


@pytest.mark.parametrize(
    ('data', 'variable', 'config', 'counts', 'classes', 'size'),
    [
        ('camvid', 'CAMVID_ROOT', BASELINE, [367, 101], 11, (480, 360)),
        ('idd_lite', 'IDD_LITE_ROOT', IDD_LITE, [1403, 204], 7, (320, 227)),
    ],
)
def test_all_images_have_labels_of_the_classes(
    root, request, data, variable, config, counts, classes, size, monkeypatch
):
    monkeypatch.setenv(variable, str(request.getfixturevalue(data)))
    cfg = load_config(root / config)
    init_default_scope('mmseg')
    splits = [DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.val_dataloader)]
    assert [len(split) for split in splits] == counts
    assert [len(splits[0].metainfo[key]) for key in ('classes', 'palette')] == [classes, classes]
    assert cfg.model.decode_head.num_classes == classes
    seen = set()
    for split in splits:
        for index in range(0, len(split), 20):
            info = split.get_data_info(index)
            assert Image.open(info['img_path']).size == size
            seen |= set(np.unique(np.asarray(Image.open(info['seg_map_path']))).tolist())
    assert seen == {*range(classes), 255}


def test_a_drive_is_kept_out(tmp_path):
    for folder, suffix in (('img', 'jpg'), ('ann', 'png')):
        (tmp_path / folder).mkdir()
        for name in ('0001TP_1', '0006R0_1', '0006R0_2', '0016E5_1'):
            Image.new('L', (4, 4)).save(tmp_path / f'{folder}/{name}.{suffix}')
    places = dict(data_root=str(tmp_path), data_prefix=dict(img_path='img', seg_map_path='ann'), pipeline=[])

    def names(drives: list[str] | None) -> list[str]:
        dataset = CamVidDataset(**places, drives=drives)
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        assert all(Path(info['img_path']).stem == Path(info['seg_map_path']).stem for info in infos)
        return [Path(info['img_path']).stem for info in infos]

    assert len(names(None)) == 4
    assert names(['0006R0']) == ['0006R0_1', '0006R0_2']
    assert names(['0016E5', '0001TP']) == ['0001TP_1', '0016E5_1']
    with pytest.raises(ValueError, match="no image of drive '0005VD'"):
        names(['0001TP', '0005VD'])


def test_the_pair_starts_as_one_from_imagenet_weights(root, camvid, mobilenet_weights, monkeypatch):
    monkeypatch.setenv('CAMVID_ROOT', str(camvid))
    monkeypatch.setenv('MOBILENET_V2_WEIGHTS', str(mobilenet_weights))
    baseline, ours = (initialised(load_config(root / name)) for name in (BASELINE, SR))
    weights = torch.load(mobilenet_weights, weights_only=True)['state_dict']
    missing = set(ours.backbone.state_dict()) - set(weights)
    assert missing and all(key.startswith('layer5.sr.') for key in missing)
    shared = baseline.state_dict()
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in shared.items())

    dataset = DATASETS.build(load_config(root / SR).train_dataloader.dataset)
    set_random_seed(1)
    batch, losses = pseudo_collate([dataset[index] for index in (0, 100)]), []
    for model in (baseline, ours):
        set_random_seed(2)  # dropout
        data = model.data_preprocessor({key: list(value) for key, value in batch.items()}, training=True)
        losses.append(model(**data, mode='loss'))
    torch.testing.assert_close(*losses, rtol=0, atol=0)
    sum(value for key, value in losses[1].items() if 'loss' in key).backward()
    assert ours.backbone.layer5.sr.memory.grad.abs().max() > 0, 'a zero memory learns all the same'


def test_where_the_data_of_each_config_come_from_is_said(root, monkeypatch):
    found = {}
    for path in (root / 'configs/_base_/datasets').glob('*.py'):
        found |= re.findall(r"'\{\{\$(\w+_ROOT):(.+?)\}\}'", path.read_text())
    assert len(found) > 5 and found == {name: default for name, (default, _) in SOURCES.items()}
    for name, default in found.items():
        assert all((root / tool).is_file() for tool in re.findall(r'tools/\w+.py', SOURCES[name][1]))
        monkeypatch.delenv(name, raising=False)
        assert f'{name} says where' in advice_on(dict(data_root=default))
        monkeypatch.setenv(name, '/elsewhere')
        assert 'says where' in advice_on(dict(data_root='/elsewhere'))
        monkeypatch.delenv(name)
    assert advice_on(dict(data_root='of/mine')) == ''
