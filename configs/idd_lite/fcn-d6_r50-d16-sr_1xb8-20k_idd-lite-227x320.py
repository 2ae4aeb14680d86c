_base_ = './fcn-d6_r50-d16_1xb8-20k_idd-lite-227x320.py'
sr = dict(after='layer3', memory_size=(15, 20), num_memories=3, hidden_channels=32)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
