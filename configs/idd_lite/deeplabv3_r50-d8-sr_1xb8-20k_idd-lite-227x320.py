_base_ = './deeplabv3_r50-d8_1xb8-20k_idd-lite-227x320.py'
sr = dict(after='layer3', memory_size=(29, 40), num_memories=2, hidden_channels=16)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
