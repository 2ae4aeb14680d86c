_base_ = [
    '../_base_/models/deeplabv3_r50-d8.py',
    '../_base_/datasets/idd_lite.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_20k.py',
]
model = dict(
    data_preprocessor=dict(size=(227, 320)),
    decode_head=dict(num_classes=7),
    auxiliary_head=dict(num_classes=7),
)
