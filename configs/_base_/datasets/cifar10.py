_base_ = './cifar100.py'
data_root = '{{$CIFAR10_ROOT:data/cifar10}}'
data_preprocessor = dict(mean=[125.307, 122.961, 113.858], std=[62.993, 62.089, 66.705])
dataset = dict(data_root=data_root, classes=f'{data_root}/classes.txt')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
