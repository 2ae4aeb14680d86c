# Table IV, 'F-CONV + SR': P = 3 memories of 32x64 (stride 16), U = 32; +12.85 % parameters.
_base_ = './fcn-d6_r50-d16_4xb2-80k_cityscapes-512x1024.py'
sr = dict(after='layer3', memory_size=(32, 64), num_memories=3, hidden_channels=32)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
