"""What ``mmengine.hub.get_model('mmseg_sr::...')`` calls by this name. Nothing else belongs here."""

from mmseg.utils import register_all_modules as register_mmseg


def register_all_modules(init_default_scope: bool = False) -> None:
    """Register mmseg's modules; importing mmseg_sr has registered its own.

    Args:
        init_default_scope: Make mmseg the default scope, as its function of the same name does.
    """
    register_mmseg(init_default_scope)
