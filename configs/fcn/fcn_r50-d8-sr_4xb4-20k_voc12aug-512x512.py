# Not in the paper: a memory of the whole map, 64x64 (stride 8), as its DeepLabV3 has.
_base_ = './fcn_r50-d8_4xb4-20k_voc12aug-512x512.py'
sr = dict(after='layer3', memory_size=(64, 64), num_memories=2, hidden_channels=16)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
