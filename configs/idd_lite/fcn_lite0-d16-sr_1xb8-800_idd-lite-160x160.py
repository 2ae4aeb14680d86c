# After layer5, the last 112-channel stage: EfficientNet-Lite0's counterpart of a ResNet's layer3. Its map is 10x10.
_base_ = './fcn_lite0-d16_1xb8-800_idd-lite-160x160.py'
sr = dict(after='layer5', memory_size=(10, 10), num_memories=3, hidden_channels=16)
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
