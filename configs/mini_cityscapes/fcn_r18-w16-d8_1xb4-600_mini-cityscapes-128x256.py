_base_ = [
    '../_base_/models/fcn_r18-w16-d8.py',
    '../_base_/datasets/mini_cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_600.py',
]
model = dict(data_preprocessor=dict(size=(128, 256)))
