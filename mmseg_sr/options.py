"""Read the options of a command line, and find those that would change nothing.

Deeper words are judged by what is built of them: a constructor refuses what it does not know. Not so in the few dicts
of which nothing is built (test_cfg, env_cfg, paramwise_cfg): there, a word that is nearly one beside it is named.
"""

import ast
import contextlib
import inspect
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from .errors import UserError

READ = (
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval', 'find_unused_parameters',
    'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn', 'test_pipeline', 'tta_model', 'tta_pipeline',
)  # fmt: skip
"""Keys of a config that a run looks up, beside the arguments of mmengine's Runner."""


def read_value(text: str) -> object:
    """Read a value of ``--cfg-options`` as mmengine does, but for quotes, which make text, and spaces.

    Example:
        >>> read_value('[1,2]'), read_value("['16E5']"), read_value('16E5'), read_value('a b')
        ([1, 2], ['16E5'], 1600000.0, 'a b')
    """
    if re.search('[\'"]', text):
        with contextlib.suppress(ValueError, SyntaxError, TypeError):
            return ast.literal_eval(text)
    plain = not re.search(r'[,()\[\]]', text)
    return DictAction._parse_int_float_bool(text.strip('\'"')) if plain else DictAction._parse_iterable(text)


def read_options(words: Iterable[str]) -> dict[str, object]:
    """Read the words of ``--cfg-options``, 'key=value' each.

    Raises:
        UserError: For a value with brackets that do not match.

    Example:
        >>> read_options(['train_cfg.max_iters=9', 'crop_size=(512,1024)'])
        {'train_cfg.max_iters': 9, 'crop_size': (512, 1024)}
    """
    options = {}
    for word in words:
        key, _, value = word.partition('=')
        try:
            options[key] = read_value(value)
        except AssertionError as error:
            raise UserError(f'--cfg-options {key}: {error}') from error
    return options


def merge_options(options: dict | None, flags: dict) -> dict:
    """Merge a tool's own flags into its ``--cfg-options``. A flag that was not given is None.

    Raises:
        UserError: Where both give the same key different values.

    Example:
        >>> merge_options({'train_cfg.max_iters': 9}, {'randomness.seed': 0, 'work_dir': None})
        {'train_cfg.max_iters': 9, 'randomness.seed': 0}
    """
    merged = dict(options or {})
    for key, value in flags.items():
        if value is not None and merged.setdefault(key, value) != value:
            raise UserError(f'--cfg-options {key}={merged[key]} contradicts {value!r} given by its own argument')
    return merged


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
