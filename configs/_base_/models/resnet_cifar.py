# The paper's ResNets on CIFAR, and all that its tables put into one: `use` names what a network has.
# Where D, D2D and DB are, and how much they drop, the paper does not say: these are this project's choice.
# A memory is as large as the map of an image of 32x32.
kaiming = dict(type='Kaiming', layer='Conv2d', distribution='uniform', mode='fan_in')
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='InsertedBackbone',
        backbone=dict(
            type='ResNet_CIFAR',
            depth=18,
            zero_init_residual=False,
            init_cfg=[kaiming, dict(type='Constant', layer='_BatchNorm', val=1)],
        ),
        insert=dict(
            D=dict(type='torch.nn.Dropout', p=0.1, after='layer[34]'),
            D2D=dict(type='torch.nn.Dropout2d', p=0.1, after='layer[34]'),
            DB=dict(type='torchvision.ops.DropBlock2d', p=0.1, block_size=3, after='layer[34]'),
            SE=dict(type='SEBlock', ratio=16, after=r'layer\d\.\d+\.bn2'),
            CBAM=dict(type='CBAMBlock', ratio=16, kernel_size=3, after=r'layer\d\.\d+\.bn2'),
            SR3=dict(type='SRBlock', memory_size=(8, 8), num_memories=2, hidden_channels=8, after='layer3'),
            SR4=dict(type='SRBlock', memory_size=(4, 4), num_memories=2, hidden_channels=8, after='layer4'),
        ),
        use=[],
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=512,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=dict(kaiming, layer='Linear'),
    ),
)
