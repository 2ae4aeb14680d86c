# The network with a memory of the scene instead: `placed` of catalogue.py.
_base_ = './idd_lite.py'
model = dict(
    data_preprocessor=dict(type='SceneDataPreProcessor'),
    backbone=dict(_base_.placed, _delete_=True, backbone=_base_.model.backbone.backbone),
)
train_pipeline = [dict(step, type=_base_.ours.get(step['type'], step['type'])) for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
