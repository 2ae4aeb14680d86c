_base_ = [
    '../_base_/models/fcn_r50-d8.py',
    '../_base_/datasets/idd_lite.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_20k.py',
]
model = dict(
    data_preprocessor=dict(size=(227, 320)),
    backbone=dict(dilations=(1, 1, 1, 2), strides=(1, 2, 2, 1)),
    decode_head=dict(dilation=6, num_classes=7),
    auxiliary_head=dict(dilation=6, num_classes=7),
)
