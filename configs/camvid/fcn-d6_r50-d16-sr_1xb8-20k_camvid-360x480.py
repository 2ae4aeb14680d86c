_base_ = './fcn-d6_r50-d16_1xb8-20k_camvid-360x480.py'
sr = dict(after='layer3', memory_size=(23, 30), num_memories=3, hidden_channels=32)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
