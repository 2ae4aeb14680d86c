_base_ = ['../../configs/camvid/fcn_lite0-d16_1xb8-800_camvid-160x160.py', './catalogue.py']
custom_imports = dict(imports=['mmseg_sr', 'experiments.recall.arms'])
insert = _base_.insert
insert.classes.num_classes = insert.addresses.num_classes = 11
model = dict(
    backbone=dict(_delete_=True, type='InsertedBackbone', backbone=_base_.model.backbone, insert=insert, use=[]),
)
custom_hooks = [dict(type='ChannelsLastHook')]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.rates))
