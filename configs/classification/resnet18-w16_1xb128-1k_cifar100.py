# A quarter of the width, 1,000 iterations: small enough for a CPU.
_base_ = [
    '../_base_/models/resnet_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/classifier_runtime.py',
    '../_base_/schedules/schedule_cifar100_1k.py',
]
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(backbone=dict(stem_channels=16, base_channels=16)),
    head=dict(in_channels=128),
)
