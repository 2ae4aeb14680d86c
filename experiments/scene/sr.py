_base_ = '../../configs/camvid/fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py'
custom_hooks = [dict(type='ChannelsLastHook')]
