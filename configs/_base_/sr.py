# The block where the paper puts it on Cityscapes: its 'module 2', counted from 0, is layer3.
# A leaf wraps its baseline's backbone with it and adds memory_size, the feature map's height and width at the crop.
sr = dict(after='layer3', num_memories=2, hidden_channels=16)
