# The paper's VGGs on CIFAR: batch norm, two hidden layers of 512 with dropout. `use` names the SR block that one has.
# SR2 and SR4 follow the second and the fourth pooling layer.
kaiming = dict(type='Kaiming', layer='Linear', distribution='uniform', mode='fan_in')
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='InsertedBackbone',
        backbone=dict(
            type='VGG',
            depth=16,
            norm_cfg=dict(type='BN'),
            init_cfg=[
                dict(type='Kaiming', layer='Conv2d', distribution='normal', mode='fan_out'),
                dict(type='Constant', layer='_BatchNorm', val=1),
            ],
        ),
        insert=dict(
            SR2=dict(type='SRBlock', memory_size=(8, 8), num_memories=2, hidden_channels=8, after='features.5'),
            SR4=dict(type='SRBlock', memory_size=(2, 2), num_memories=2, hidden_channels=8, after='features.13'),
        ),
        use=[],
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=100,
        in_channels=512,
        mid_channels=[512, 512],
        dropout_rate=0.5,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=kaiming,
    ),
)
