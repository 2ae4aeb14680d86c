# 1,000 iterations for a CPU: x0.2 at the same shares of them as in the 200 epochs.
_base_ = './schedule_cifar100.py'
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[300, 600, 800], gamma=0.2)]
train_cfg = dict(max_iters=1000, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=200))
