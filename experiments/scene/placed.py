# The baseline with an SR block whose memory of 12x16 cells covers the scene: crops say where they lie in it.
_base_ = './sr.py'
custom_imports = dict(imports=['mmseg_sr', 'experiments.scene.rivals'])
model = dict(
    data_preprocessor=dict(type='SceneDataPreProcessor'),
    backbone=dict(scene=True, sr=dict(memory_size=(12, 16))),
)
ours = dict(RandomCrop='SceneRandomCrop', PackSegInputs='PackSceneInputs')
train_pipeline = [dict(step, type=ours.get(step['type'], step['type'])) for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
