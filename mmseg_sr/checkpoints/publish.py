"""Publish weights: a checkpoint without the state of its training, as .pth and as .safetensors, named by sha256."""

import ast
import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from ..atomic import check_folder, replacing
from ..config import load_config, prepare
from ..datasets.classes import listed
from ..errors import UserError, blame
from ..provenance import versions
from .reading import DIGEST, read_checkpoint
from .weights import check_finite, check_weights, dataset_meta_of, plain_weights

NAME = re.compile(r'\w[\w.+-]*')
OF_ONE_RUN = ('work_dir', 'load_from', 'resume', 'launcher')  # keys of a config that say nothing of the network


def publish(
    source: str | Path,
    out: str | Path,
    name: str | None = None,
    config: str | Path | None = None,
    metrics: Mapping[str, float | None] | None = None,
) -> dict[str, dict]:
    """Write the weights of a checkpoint into a folder for others, the same arguments to the same bytes.

    Weights and buffers stay what they are, to the bit; the state of the training goes. ``meta`` of the .pth and the
    header of the .safetensors have ``cfg``, ``dataset_meta`` (classes, palette), ``metrics``, ``versions``, ``iter``.

    Args:
        name: How the files begin; the default is the config's name as the training knew it.
        config: Config file, whose model the weights must fill; the default is the text in the checkpoint, not run.
        metrics: Numbers that the weights reach, by name, as JSON has them.

    Returns:
        For '.pth' and '.safetensors' the ``path``, the ``sha256`` and the size in ``bytes``.

    Raises:
        UserError: For a source that is no checkpoint, has no config or does not fill the given one's model, a name
            that is none, and where the folder has other weights under this name.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> torch.save({'meta': {'cfg': 'model = {}', 'iter': 9}, 'state_dict': {'w': torch.ones(2)}}, folder / 'a.pth')
        >>> sorted(publish(folder / 'a.pth', folder / 'out'))
        ['.pth', '.safetensors']
    """
    checkpoint = read_checkpoint(source)
    weights = {key: value.detach().clone().contiguous() for key, value in plain_weights(checkpoint).items()}
    check_finite(weights, source)
    meta = checkpoint.get('meta') or {}
    text = _fitting_config(config, checkpoint, source) if config else meta.get('cfg')
    name = _check_name(name or (Path(config).stem if config else _name(meta) or Path(source).stem))
    published = {'cfg': _portable(text, source), **_classes(dataset_meta_of(checkpoint) or {})}
    published |= {'metrics': dict(metrics or {}), 'versions': versions(), 'iter': meta.get('iter')}
    return _write(Path(out), name, {'.pth': _pth(weights, published), '.safetensors': _safetensors(weights, published)})


def _fitting_config(config: str | Path, checkpoint: dict, source: str | Path) -> str:
    cfg = load_config(config)
    with blame(f'build the model of {config}'), DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        model = MODELS.build(prepare(cfg).model)
    check_weights(model, checkpoint, source, whole=True)
    return cfg.pretty_text


def _check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(f'a name takes letters, digits and . + - _, got {name!r}')
    return name


def _name(meta: dict) -> str | None:
    """The name of the config, which mmengine begins the name of a training with; its end is the time."""
    return re.sub(r'_\d{8}_\d{6}$', '', meta.get('experiment_name') or '') or None


def _portable(text: str | None, source: str | Path) -> str:
    """Take out of a config's text what belongs to one run on one machine. It is parsed and not run."""
    if not text:
        raise UserError(f'{source} has no config in it: name one by --config')
    try:
        nodes = ast.parse(text).body
    except (SyntaxError, TypeError, ValueError) as error:
        raise UserError(f'the config in the checkpoint is none ({error}): name one by --config') from error
    lines = text.splitlines()
    for node in nodes:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) in OF_ONE_RUN:
            lines[node.lineno - 1 : node.end_lineno] = [None] * (node.end_lineno - node.lineno + 1)
    return ''.join(f'{line}\n' for line in lines if line is not None)


def _classes(dataset_meta: dict) -> dict:
    return {'dataset_meta': plain} if (plain := listed(dataset_meta)) else {}


def _pth(weights: dict[str, Tensor], meta: dict) -> bytes:
    file = io.BytesIO()  # in a file torch would write its name too
    torch.save({'meta': json.loads(json.dumps(meta)), 'state_dict': weights}, file)
    return file.getvalue()


def _safetensors(weights: dict[str, Tensor], meta: dict) -> bytes:
    texts = {key: value if key == 'cfg' else json.dumps(value) for key, value in meta.items()}
    data = safetensors.torch.save(weights, {'format': 'pt', **texts})
    # The library writes these texts in any order. A file is the length of its header, the header, and the weights.
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + length])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    return len(text).to_bytes(8, 'little') + text + data[8 + length :]


def _write(out: Path, name: str, contents: dict[str, bytes]) -> dict[str, dict]:
    check_folder('--out', out)
    files = {}
    for suffix, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        path = out / f'{name}-{digest[:8]}{suffix}'
        files[suffix] = {'path': str(path), 'sha256': digest, 'bytes': len(content)}
        for other in out.glob(f'*{suffix}'):
            if DIGEST.sub('', other.stem) == name and (other != path or other.read_bytes() != content):
                raise UserError(f'{other} has other weights of this name: delete it, or choose another --name or --out')
    for suffix, file in files.items():
        with replacing(Path(file['path'])) as partial:
            partial.write_bytes(contents[suffix])
    return files
