"""A dataset of a few random images and a config of a small stock FCN: a run of it takes about a second."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ('road', 'car', 'tree', 'train')  # there is no train in the images

CONFIG = """
default_scope = 'mmseg'
custom_imports = dict(imports=['mmseg_sr'])
work_dir = {work_dir!r}
norm_cfg = dict(type='SyncBN', requires_grad=True)
crop_size = (64, 64)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, pad_val=0, seg_pad_val=255, size=crop_size
    ),
    pretrained=None,
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, concat_input=False,
        dropout_ratio=0, num_classes=4, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    auxiliary_head=[dict(
        type='FCNHead', in_channels=32, in_index=2, channels=8, num_convs=1, concat_input=False,
        dropout_ratio=0, num_classes=4, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
    )],
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
dataset = dict(
    type='BaseSegDataset', data_root={data!r}, data_prefix=dict(img_path='img', seg_map_path='ann'),
    img_suffix='.png', metainfo=dict(classes=('road', 'car', 'tree', 'train'), palette=[[0], [80], [160], [240]]),
    pipeline=pipeline,
)
train_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler'), dataset=dataset)
val_dataloader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
test_dataloader = val_dataloader
val_evaluator = dict(type='ClassIoUMetric')
test_evaluator = dict(type='IoUMetric')
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=ratio, keep_ratio=True) for ratio in (0.5, 1.0)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='LoadAnnotations')],
        [dict(type='PackSegInputs')],
    ]),
]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4),
)
env_cfg = dict(mp_cfg=dict(mp_start_method='fork'), dist_cfg=dict(backend='nccl'))
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
randomness = dict(seed=0)
log_level = 'INFO'
"""

# What makes it a network with an SR block: write_config(folder, extra=SR).
SR = """
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'], sr=dict(after='layer3', memory_size=(4, 4), hidden_channels=4)
)
"""


def write_images(folder: Path, count: int = 5, size: int = 64) -> None:
    """Write ``count`` images and label maps, in which blocks of a colour are a class and some pixels are void."""
    generator = np.random.default_rng(0)
    for place in ('img', 'ann'):
        (folder / place).mkdir(parents=True)
    for index in range(count):
        labels = generator.integers(0, 3, (8, 8)).repeat(size // 8, 0).repeat(size // 8, 1).astype(np.uint8)
        noise = generator.integers(0, 60, (size, size, 3))
        image = labels[..., None] * 80 + noise
        labels[generator.random(labels.shape) < 0.05] = 255
        Image.fromarray(image.astype(np.uint8)).save(folder / 'img' / f'{index}.png')
        Image.fromarray(labels).save(folder / 'ann' / f'{index}.png')


def write_config(folder: Path, name: str = 'tiny.py', extra: str = '') -> Path:
    """Write the dataset, if it is not there, and a config: the tiny one, and what ``extra`` changes in it."""
    if not (folder / 'data').exists():
        write_images(folder / 'data')
    path = folder / name
    text = CONFIG.format(work_dir=str(folder / 'work' / path.stem), data=str(folder / 'data'))
    path.write_text(text + extra)
    return path
