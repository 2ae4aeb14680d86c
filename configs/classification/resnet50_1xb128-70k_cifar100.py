_base_ = [
    '../_base_/models/resnet50_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/classifier_runtime.py',
    '../_base_/schedules/schedule_cifar100.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
