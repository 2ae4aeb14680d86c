# The memory is as large as the map of an image of 224x224. DropBlock's own paper has blocks of 7x7.
_base_ = './resnet50_cifar.py'
model = dict(
    backbone=dict(
        backbone=dict(type='ResNet'),
        insert=dict(
            DB=dict(block_size=7),
            SR3=dict(memory_size=(14, 14), hidden_channels=16),
            SR4=dict(memory_size=(7, 7), hidden_channels=16),
        ),
    ),
    head=dict(num_classes=1000),
)
