_base_ = './resnet_cifar.py'
model = dict(
    backbone=dict(
        backbone=dict(depth=50),
        insert=dict(SE=dict(after=r'layer\d\.\d+\.bn3'), CBAM=dict(after=r'layer\d\.\d+\.bn3')),
    ),
    head=dict(in_channels=2048),
)
