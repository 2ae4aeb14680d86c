# A memory of the scene on drawn streets, as on CamVid, untuned.
_base_ = '../../configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
model = dict(
    data_preprocessor=dict(type='SceneDataPreProcessor'),
    backbone=dict(scene=True, sr=dict(memory_size=(12, 16), num_memories=3)),
)
ours = dict(RandomCrop='SceneRandomCrop', PackSegInputs='PackSceneInputs')
train_pipeline = [dict(step, type=ours.get(step['type'], step['type'])) for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
