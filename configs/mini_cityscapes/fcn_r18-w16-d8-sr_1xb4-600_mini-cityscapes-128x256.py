_base_ = './fcn_r18-w16-d8_1xb4-600_mini-cityscapes-128x256.py'
sr = dict(after='layer3', memory_size=(16, 32), num_memories=3, hidden_channels=16)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
