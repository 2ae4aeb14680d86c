# All arms are trained in channels_last, which is faster here.
_base_ = '../../configs/camvid/fcn_m-v2-d16_1xb8-800_camvid-160x160.py'
custom_hooks = [dict(type='ChannelsLastHook')]
