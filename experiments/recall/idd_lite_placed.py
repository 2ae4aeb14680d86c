# A memory of the scene (docs/scene.md), of rank 16, behind the same stage: it recalls by place, not by image.
_base_ = './idd_lite.py'
sr = dict(after='layer5', memory_size=(12, 16), num_memories=3, hidden_channels=16, memory_rank=16)
model = dict(
    data_preprocessor=dict(type='SceneDataPreProcessor'),
    backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone.backbone, scene=True, sr=sr),
)
ours = dict(RandomCrop='SceneRandomCrop', PackSegInputs='PackSceneInputs')
train_pipeline = [dict(step, type=ours.get(step['type'], step['type'])) for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
