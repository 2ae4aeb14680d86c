# 182 epochs of 45,000 images in batches of 128, in iterations: x0.1 at epochs 90 and 136.
_base_ = './schedule_cifar100.py'
optimizer = dict(weight_decay=1e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[31641, 47813], gamma=0.1)]
train_cfg = dict(max_iters=63984)
