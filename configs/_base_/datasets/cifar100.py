# What tools/prepare_cifar.py makes of the official archive: 45,000 images to train, 5,000 to validate, 10,000 to test.
# Mean and standard deviation are those of the pixels of the training images, in RGB.
data_root = '{{$CIFAR100_ROOT:data/cifar100}}'
data_preprocessor = dict(
    type='ClsDataPreprocessor', mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418], to_rgb=True
)
crop_size = (32, 32)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=crop_size, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
dataset = dict(type='CustomDataset', data_root=data_root, classes=f'{data_root}/classes.txt')
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='val.txt', pipeline=test_pipeline, **dataset),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='test.txt', pipeline=test_pipeline, **dataset),
)
val_evaluator = dict(type='ClassAccuracy', by_class=False)
test_evaluator = dict(type='ClassAccuracy')
