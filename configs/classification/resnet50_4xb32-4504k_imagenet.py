_base_ = [
    '../_base_/models/resnet50_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/classifier_runtime.py',
    '../_base_/schedules/schedule_imagenet.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
