# What experiments/recall_*.yaml put behind layer5, whose maps are 10x10 in training; `use` names one.
sr = dict(after='layer5', type='SRBlock', memory_size=(10, 10), num_memories=3, hidden_channels=16)
insert = dict(
    SR=sr,
    static=dict(sr, num_memories=1),
    rank16=dict(sr, memory_rank=16),
    choosing=dict(sr, type='ChoosingSRBlock', steps=80),  # a tenth of the training
    drawn=dict(sr, type='ChoosingSRBlock', steps=80, std=0.7),  # from memories that differ, some 6 % of the map's norm
    pixel=dict(after='layer5', type='PixelRecall', num_memories=32),
    fast=dict(after='layer5', type='PixelRecall', num_memories=32),
    bottleneck=dict(after='layer5', type='PixelBottleneck', hidden_channels=32),
    classes=dict(after='layer5', type='ClassRecall'),
    addresses=dict(after='layer5', type='ClassRecall', recalls=False),
)
# A memory of the scene (docs/scene.md), of rank 16: it recalls by place, not by image. Its backbone knows places.
placed_sr = dict(after='layer5', memory_size=(12, 16), num_memories=3, hidden_channels=16, memory_rank=16)
placed = dict(type='SRBackbone', scene=True, sr=placed_sr)
ours = dict(RandomCrop='SceneRandomCrop', PackSegInputs='PackSceneInputs')
# Gradients are small where a memory cell sees one cell of a map (docs/scene.md), or 32 memories share a softmax.
rates = {
    'choosing.memory': dict(lr_mult=300, decay_mult=0),
    'drawn.memory': dict(lr_mult=300, decay_mult=0),
    'fast': dict(lr_mult=32, decay_mult=0),
}
