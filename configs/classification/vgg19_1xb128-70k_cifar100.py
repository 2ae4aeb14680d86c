_base_ = [
    '../_base_/models/vgg_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/classifier_runtime.py',
    '../_base_/schedules/schedule_cifar100.py',
]
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(backbone=dict(depth=19), insert=dict(SR4=dict(after='features.15'))),
)
