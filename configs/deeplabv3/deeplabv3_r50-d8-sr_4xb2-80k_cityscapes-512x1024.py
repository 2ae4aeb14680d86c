# Table IV, 'DLv3 + SR': P = 2 memories of 64x128 (stride 8), U = 16; +24.83 % parameters.
_base_ = './deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024.py'
sr = dict(after='layer3', memory_size=(64, 128), num_memories=2, hidden_channels=16)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
