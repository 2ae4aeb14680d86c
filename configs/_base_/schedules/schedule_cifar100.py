# 200 epochs of 45,000 images in batches of 128, in iterations: x0.2 at epochs 60, 120 and 160; a validation an epoch.
_base_ = './schedule_80k.py'
optimizer = dict(lr=0.1, weight_decay=5e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[21094, 42188, 56250], gamma=0.2)]
train_cfg = dict(max_iters=70312, val_interval=352)
default_hooks = dict(
    checkpoint=dict(interval=3520, max_keep_ckpts=1, save_best='top1'),
    visualization=dict(_delete_=True, type='VisualizationHook', enable=False),
)
