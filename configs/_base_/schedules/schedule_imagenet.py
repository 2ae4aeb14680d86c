# 450 epochs of 1,281,167 images in batches of 128, in iterations: x0.1 at epochs 75, 150, 225, 300 and 375.
_base_ = './schedule_cifar100.py'
optimizer = dict(weight_decay=1e-4)
optim_wrapper = dict(optimizer=optimizer)
milestones = [750684, 1501368, 2252051, 3002735, 3753419]
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=milestones, gamma=0.1)]
train_cfg = dict(max_iters=4504103, val_interval=10010)
default_hooks = dict(checkpoint=dict(interval=10010))
