_base_ = [
    '../_base_/models/fcn_r50-d8.py',
    '../_base_/datasets/mini_cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_300.py',
]
model = dict(
    data_preprocessor=dict(size=(128, 256)),
    pretrained=None,
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=64),
    auxiliary_head=dict(in_channels=256, channels=32),
)
