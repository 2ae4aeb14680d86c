# A memory of the scene, of rank 16: docs/scene.md. The same network for 600 iterations is in experiments/scene/.
_base_ = './fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256.py'
sr = dict(memory_size=(12, 16), num_memories=3, memory_rank=16)
model = dict(data_preprocessor=dict(type='SceneDataPreProcessor'), backbone=dict(scene=True, sr=sr))
ours = dict(RandomCrop='SceneRandomCrop', PackSegInputs='PackSceneInputs')
train_pipeline = [dict(step, type=ours.get(step['type'], step['type'])) for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
