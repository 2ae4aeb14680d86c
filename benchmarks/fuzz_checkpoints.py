"""Break checkpoints in hundreds of ways and look what is made of each: refused, loaded as it was, or something else.

    python benchmarks/fuzz_checkpoints.py results/fuzz_checkpoints.json
    python benchmarks/fuzz_checkpoints.py results/fuzz_checkpoints.json --count 100 --seed 1

A tiny FCN with an SR block is trained; its checkpoint, as torch writes it today and as it did before 1.6, what
publish_model.py makes of it, and checkpoints that ask their reader to run code are cut, flipped, shifted and taken
apart and put together by `tests/broken_files.py`. Each variant is read in a process of its own, by the way of the tools
(`by_tools`) and by mmengine's (`by_mmengine`: `init_model`, MMSegInferencer, `load_from`):

    refused            UserError: one line that names the file, nothing is loaded
    the same           every weight is the one that was saved, to the bit
    other weights      a sound file of other weights; this breaks a promise where a checksum tells (`checked_by`)
    in part, logged    (mmengine only) weights are missing or do not fit, and a warning names them
    refused by mmengine

`code_ran` says that a payload ran, or that anything was compiled, executed, started, connected or written while the
file was read. `broken_promises` lists variants with code, without an end after --limit seconds, with a crash, another
error than UserError, weights in part without a word, or other weights in spite of a checksum; exit status 1 then.
"""

import argparse
import json
import logging
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.runner import load_checkpoint
from torch import nn
from tqdm import tqdm

from mmseg_sr.atomic import replacing
from mmseg_sr.engine.checkpoint import read_checkpoint
from mmseg_sr.engine.config import load_config
from mmseg_sr.engine.launch import train
from mmseg_sr.engine.loading import load
from mmseg_sr.engine.publish import publish
from mmseg_sr.errors import UserError, command
from mmseg_sr.evaluation.provenance import provenance

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

import broken_files
import payloads
from tiny_config import write_config

SR = """
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'], sr=dict(after='layer3', memory_size=(4, 4), hidden_channels=4)
)
"""
ACTS = {'exec', 'compile', 'os.system', 'os.exec', 'os.posix_spawn', 'os.fork', 'subprocess.Popen', 'socket.connect'}
WRITES = {'os.remove', 'os.rename', 'os.mkdir', 'os.rmdir', 'os.symlink', 'os.link', 'shutil.rmtree'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the outcomes go')
    parser.add_argument('--count', type=int, default=20, help='variants of each kind of damage')
    parser.add_argument('--seed', type=int, default=0, help='of the damage')
    parser.add_argument('--limit', type=float, default=60, metavar='SECONDS', help='for reading one variant')
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------- what is broken


@dataclass
class Family:
    """Variants of one file.

    Attributes:
        name: What the file is.
        checked: By what its weights are held against what was written; None if by nothing.
        filename: The variants'.
        variants: Their kinds and contents.
    """

    name: str
    checked: str | None
    filename: str
    variants: broken_files.Variants


def families(home: Path, trained: Path, mark: Path, args: argparse.Namespace) -> Iterator[Family]:
    """Every file there is to break, with its variants."""
    generator, count = random.Random(args.seed), args.count
    content, checkpoint = trained.read_bytes(), load(trained)
    crc = 'a CRC of each record'
    yield Family('.pth of a training', crc, 'a.pth', broken_files.archives(content, generator, count))
    torch.save(checkpoint, home / 'old.pth', _use_new_zipfile_serialization=False)
    old = broken_files.old((home / 'old.pth').read_bytes(), generator, count)
    yield Family('.pth of a training, before torch 1.6', None, 'a.pth', old)

    published = {suffix: Path(file['path']) for suffix, file in publish(trained, home / 'out', 'tiny').items()}
    content = published['.pth'].read_bytes()
    variants = broken_files.archives(content, generator, count)
    yield Family('.pth, published', crc + ', and the sha256 in its name', published['.pth'].name, variants)
    content = published['.safetensors'].read_bytes()
    for checked, filename in (('the sha256 in its name', published['.safetensors'].name), (None, 'a.safetensors')):
        name = '.safetensors, published' + ('' if checked else ' and renamed')
        yield Family(name, checked, filename, _safetensors(content, generator, count))
    hostile = _hostile(home / 'hostile.pth', checkpoint, mark, generator, count)
    yield Family('.pth with a payload', crc, 'a.pth', hostile)


def _safetensors(content: bytes, generator: random.Random, count: int) -> broken_files.Variants:
    for damage in (broken_files.cut, broken_files.flipped, broken_files.headers):
        yield from damage(content, generator, count)
    yield from broken_files.shifted(content, generator, count // 2)


def _hostile(path: Path, checkpoint: dict, mark: Path, generator: random.Random, count: int) -> broken_files.Variants:
    for kind, payload in payloads.PAYLOADS.items():
        for form, options in payloads.FORMATS.items():
            yield f'{kind}, {form}', payloads.save(payload(mark), path, checkpoint, **options).read_bytes()
        content = payloads.save(payload(mark), path, checkpoint).read_bytes()
        for damage, broken in broken_files.archives(content, generator, count // 5):
            yield f'{kind}: {damage}', broken


# ------------------------------------------------------------------------------------------------- what is made of each


class Witness:
    """Hears of whatever this process does that reading a checkpoint does not need."""

    def __init__(self):
        self.seen: list[str] = []

    def __call__(self, event: str, args: tuple) -> None:
        if event in ACTS | WRITES or event == 'open' and isinstance(args[1], str) and set(args[1]) & set('wax+'):
            self.seen.append(f'{event} {str(args)[:100]}')


def by_mmengine(path: Path, model: nn.Module, weights: dict) -> str:
    """What mmengine makes of a file."""
    records: list[logging.LogRecord] = []
    logger = logging.Logger('mmengine')
    logger.addFilter(lambda record: records.append(record))
    for value in model.state_dict().values():
        value.fill_(-77)  # no weight is
    try:
        load_checkpoint(model, str(path), map_location='cpu', logger=logger)
    except UserError:
        return 'refused'
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        return f'refused by mmengine ({type(error).__name__})'
    logged = ', logged' if any(record.levelno >= logging.WARNING for record in records) else ''
    found = model.state_dict()
    if all(torch.equal(found[key], weights[key]) for key in weights):
        return f'the same{logged}'
    return ('in part' if any((value == -77).all() for value in found.values()) else 'other weights') + logged


def examine(path: Path, model: nn.Module, weights: dict, mark: Path, channel: multiprocessing.connection.Connection):
    """Read a file in both ways; tell what came of it."""
    witness = Witness()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    sys.addaudithook(witness)
    tools = broken_files.outcome(path, model, weights)
    seconds = time.process_time() - start
    mmengine = by_mmengine(path, model, weights)
    channel.send(
        {
            'by_tools': tools,
            'by_mmengine': mmengine,
            'cpu_seconds': round(seconds, 4),
            'more_mib': (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
            'code_ran': mark.exists() or witness.seen,
        }
    )


def judge(path: Path, model: nn.Module, weights: dict, mark: Path, limit: float) -> dict:
    """The same in a process of its own, which may hang or crash."""
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=examine, args=(path, model, weights, mark, theirs))
    process.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(limit) else {'by_tools': 'no end'}
    except EOFError:
        process.join()
        found = {'by_tools': f'crash ({process.exitcode})'}
    process.kill()
    process.join()
    found.setdefault('code_ran', mark.exists())
    mark.unlink(missing_ok=True)
    return found


def is_kept(family: Family, row: dict) -> bool:
    """Whether a variant was treated as promised."""
    allowed = {'refused', 'the same'} | (set() if family.checked else {'other weights'})
    by_mmengine = row.get('by_mmengine', '')
    silent = by_mmengine == 'in part' or by_mmengine == 'other weights' and family.checked
    return row['by_tools'] in allowed and not row['code_ran'] and not silent


# ------------------------------------------------------------------------------------------------------------- the rest


def summary(family: Family, rows: list[dict]) -> dict:
    times = sorted(row['cpu_seconds'] for row in rows if 'cpu_seconds' in row)
    return {
        'file': family.name,
        'checked_by': family.checked,
        'variants': len(rows),
        **{way: dict(Counter(row.get(way) for row in rows).most_common()) for way in ('by_tools', 'by_mmengine')},
        'code_ran': sum(bool(row['code_ran']) for row in rows),
        'cpu_seconds_median': times[len(times) // 2],
        'cpu_seconds_most': times[-1],
        'more_mib_most': max(row.get('more_mib', 0) for row in rows),
    }


def write(path: Path, document: dict, rows: list[dict]) -> None:
    """Write the document, with one line for each variant."""
    text = json.dumps({**document, 'rows': []}, indent=2)
    lines = ',\n'.join(f'    {json.dumps(row)}' for row in rows)
    with replacing(path) as partial:
        partial.write_text(text.replace('"rows": []', f'"rows": [\n{lines}\n  ]') + '\n')


@command
def main() -> int:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, mark = Path(folder), Path(folder, 'it ran')
        (home / 'variants').mkdir()
        config = write_config(home, extra=SR)
        model = train(load_config(config)).model
        trained = home / 'work/tiny/iter_4.pth'
        weights = read_checkpoint(trained)['state_dict']
        summaries, rows, broken = [], [], []
        for family in families(home, trained, mark, args):
            path, found = home / 'variants' / family.filename, []
            for kind, content in tqdm(family.variants, desc=family.name, unit='file'):
                path.write_bytes(content)
                row = {'file': family.name, 'damage': kind, **judge(path, model, weights, mark, args.limit)}
                found.append(row)
                broken += [] if is_kept(family, row) else [row]
            path.unlink()
            summaries.append(summary(family, found))
            rows += found
    document = {
        'command': ' '.join(['python', *sys.argv]),
        **provenance(),
        'torch': torch.__version__,
        'variants': len(rows),
        'limit_seconds': args.limit,
        'broken_promises': broken,
        'files': summaries,
    }
    write(args.out, document, rows)
    print(json.dumps(document))
    return 1 if broken else 0


if __name__ == '__main__':
    main()
