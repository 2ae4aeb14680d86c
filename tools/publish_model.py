"""Publish a checkpoint: the weights without the state of their training, as .pth and as .safetensors.

    python tools/publish_model.py work_dirs/sr/iter_80000.pth --out checkpoints
    python tools/publish_model.py work_dirs/sr/iter_80000.pth --out checkpoints --metrics metrics.json --name fcn-sr

Writes NAME-<first 8 digits of its sha256>.pth and .safetensors. Both hold the same weights, to the bit, and tell in
`meta` (.pth) or in their header (.safetensors): the config's text, classes and palette, metrics, versions and the
iteration. Every tool here loads both, and so do mmseg's init_model and MMSegInferencer once mmseg_sr is imported; a
file that is not what its name says is refused.

The weights must fill the model of --config. Published twice, the bytes are the same; a folder with other weights of
this name is refused. The JSON document has path, sha256 and bytes of each file.
"""

import argparse
import json
from pathlib import Path

from _cli import Parser, answer, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='what a training saved')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder of the published files')
    parser.add_argument('--config', metavar='CONFIG', help='config file, instead of the text in the checkpoint')
    parser.add_argument('--metrics', type=Path, metavar='FILE.json', help='numbers that tools/test.py wrote')
    parser.add_argument('--name', help="how the files begin (default: the config's name)")
    parser.add_trust()
    return parser.parse_args()


def read_metrics(path: Path) -> dict[str, float | None]:
    """The metrics in what tools/test.py wrote."""
    try:
        metrics = json.loads(path.read_text(encoding='utf-8'))['metrics']
        if all(isinstance(value, (int, float, type(None))) for value in metrics.values()):
            return metrics
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    from mmseg_sr.errors import UserError

    raise UserError(f'--metrics takes a file that tools/test.py --metrics wrote, and {path} is none')


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.checkpoints.publish import publish

    metrics = read_metrics(args.metrics) if args.metrics else None
    files = publish(args.checkpoint, args.out, args.name, args.config, metrics)
    paths = ' and '.join(file['path'] for file in files.values())
    answer(args, f'published as {paths}', {suffix.removeprefix('.'): file for suffix, file in files.items()})


main = program(parse_args, work)

if __name__ == '__main__':
    main()
