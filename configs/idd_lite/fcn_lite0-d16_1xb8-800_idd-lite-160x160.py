_base_ = [
    '../_base_/models/fcn_lite0-d16.py',
    '../_base_/datasets/idd_lite_160.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_800.py',
]
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    decode_head=dict(num_classes=7),
    auxiliary_head=dict(num_classes=7),
)
