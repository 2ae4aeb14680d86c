_base_ = './deeplabv3_r50-d8_1xb8-20k_camvid-360x480.py'
sr = dict(after='layer3', memory_size=(45, 60), num_memories=2, hidden_channels=16)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
