"""The tiny config in mmengine's pure-Python way: every ``type`` is a class, not a name."""

import re
from pathlib import Path

import tiny_config
from mmseg import registry

KINDS = ('MODELS', 'DATASETS', 'TRANSFORMS', 'DATA_SAMPLERS', 'METRICS', 'OPTIM_WRAPPERS', 'OPTIMIZERS', 'LOOPS')
KINDS += ('HOOKS', 'VISUALIZERS', 'VISBACKENDS', 'PARAM_SCHEDULERS')


def class_of(name: str) -> type:
    """The class that a registry of OpenMMLab has under a name."""
    return next(found for kind in KINDS if (found := getattr(registry, kind).get(name)))


def write_pure_config(folder: Path, name: str = 'pure.py', extra: str = '') -> Path:
    """Write the tiny config, and what ``extra`` changes in it, with classes for the names of types."""
    path = tiny_config.write_config(folder, name, extra)
    text = path.read_text(encoding='utf-8')
    classes = {each: class_of(each) for each in re.findall(r"type='(\w+)'", text)}
    imports = {f'from {each.__module__} import {each.__name__}\n' for each in classes.values()}
    text = re.sub(r"type='(\w+)'", lambda found: f'type={classes[found[1]].__name__}', text)
    path.write_text(''.join(sorted(imports)) + text, encoding='utf-8')
    return path
