_base_ = [
    '../_base_/models/resnet50_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/classifier_runtime.py',
    '../_base_/schedules/schedule_cifar10.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor, head=dict(num_classes=10))
