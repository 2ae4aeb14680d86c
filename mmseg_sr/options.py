"""Find the options of a command line that would change nothing.

Deeper words are judged by what is built of them: a constructor refuses what it does not know. Not so in the few dicts
of which nothing is built (test_cfg, env_cfg, paramwise_cfg): there, a word that is nearly one beside it is named.
"""

import inspect
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from mmengine.config import Config
from mmengine.runner import Runner

READ = (
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval', 'find_unused_parameters',
    'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn', 'test_pipeline', 'tta_model', 'tta_pipeline',
)  # fmt: skip
"""Keys of a config that a run looks up, beside the arguments of mmengine's Runner."""


def unread_options(cfg: Config, options: Iterable[str]) -> list[str]:
    """Say of each option whose first word is no key of the config, nor one that a run looks up, what may be meant.

    Example:
        >>> unread_options(Config(dict(train_cfg=dict(max_iters=9))), ['train_cfg.max_iters', 'max_iter'])
        ["--cfg-options max_iter: the config has no 'max_iter' and a run reads none; is it train_cfg.max_iters?"]
    """
    known = {*cfg.keys(), *inspect.signature(Runner).parameters, *READ}
    lasts = {key.split('.')[-1]: key for key in _dotted(cfg._cfg_dict)}
    found = []
    for option in options:
        first, *inner = option.split('.')
        if first not in known:
            near = ['.'.join([key, *inner]) for key in get_close_matches(first, known, 1, 0.75)]
            near += [lasts[word] for word in get_close_matches([first, *inner][-1], lasts, 1, 0.75)]
            advice = f'; is it {near[0]}?' if near else ''
            found.append(f'--cfg-options {option}: the config has no {first!r} and a run reads none{advice}')
        elif near := _nearly_beside(cfg[first] if first in cfg else {}, inner):
            found.append(f'--cfg-options {option}: the config has none; is it {".".join([first, *near])}?')
    return found


def _nearly_beside(node: object, words: list[str]) -> list[str]:
    """Find the words of which the first that ``node`` lacks is nearly one that it has, if nothing is built of it."""
    for place, word in enumerate(words):
        if not isinstance(node, dict):
            return []
        if word not in node:
            near = [] if 'type' in node else get_close_matches(word, node, 1, 0.75)
            return words[:place] + near if near else []
        node = node[word]
    return []


def _dotted(node: dict, path: str = '') -> Iterator[str]:
    for key, value in node.items():
        yield f'{path}{key}'
        if isinstance(value, dict):
            yield from _dotted(value, f'{path}{key}.')
