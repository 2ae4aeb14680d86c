"""Export a network for serving, whole: pixels in, logits or labels out. It is checked against PyTorch right away.

    python tools/export.py CONFIG CHECKPOINT
    python tools/export.py CONFIG CHECKPOINT --shape 512 1024 --out fcn-sr.onnx
    python tools/export.py CONFIG CHECKPOINT --dynamic --frames data/camvid/img_dir/val --check-sizes 360x480 333x517
    python tools/export.py CONFIG CHECKPOINT --format torch-export --output labels --fp16

What is exported takes RGB pixels, uint8 of 0 to 255, (N, 3, height, width), of any number of images. Normalisation, the
order of the colours and padding are inside: it cannot be fed wrongly. It gives logits, float32: of a segmentor (N,
classes, height, width), of a classifier (N, classes), whose softmax are the probabilities. By --output labels it gives
the ids of the classes, (N, height, width) or (N,), uint8, or int64 of more than 256 classes. Classes, palette, the
resizing and cropping of the test pipeline, windows and SR blocks go with it, in ONNX's metadata_props:
tools/predict.py needs nothing else.

--shape H W takes images of one size (default: the crop of test or training, or window). An SR block of the trained
size has no resize in the graph then; the one that stays in a segmentor brings the logits to the image's size. --dynamic
takes images of any size; a network with Conv2dAdaptivePadding has no such form. Slide inference is no part of the
graph: export the window, and predict with --mode slide.

A block whose softmax weights are the same for every image (one memory, say) is folded into a bias; by --static-recall,
with mean weights, every block is. --fp16 takes half of the space; pixels and logits stay what they are.

The check compares logits and labels with those of mmseg or mmpretrain on pictures: --frames, else the config's
validation images, else drawn streets. Sizes: the one of --shape; with --dynamic the trained one, twice as much and an
odd one, or --check-sizes. Logits may differ by 0.1 % of the largest one, in half precision by 5 %; where only labels
come out, 0.1 % of them, or 5 %. A network that fails its check is not written, nor one that cannot be exported: that is
an error, which says why.

ONNX needs `pip install "mmseg-sr[export]"`, and onnxruntime is the fastest way to serve on a CPU that was measured
(`python benchmarks/serving.py`). What torch-export writes is loaded by torch.export.load(FILE).module().
"""

import argparse
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from _cli import Parser, answer, at_least, program

SUFFIX = {'onnx': '.onnx', 'torch-export': '.pt2'}
SIZES = ((1, 0), (2, 0), (1, 5))  # of the check: how often the trained size, and how many pixels more


def size(text: str) -> tuple[int, int]:
    """Height and width of a text like 512x1024."""
    if not re.fullmatch(r'[1-9]\d*x[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f'a size is HEIGHTxWIDTH, 512x1024 say, got {text!r}')
    return tuple(map(int, text.split('x')))


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='file of the weights')
    parser.add_argument('--format', choices=list(SUFFIX), default='onnx')
    parser.add_argument('--out', type=Path, metavar='FILE', help="default: in the config's work_dir, by its name")
    shapes = parser.add_mutually_exclusive_group()
    parser.add_size('--shape', shapes, help='images of this size')
    shapes.add_argument('--dynamic', action='store_true', help='images of any size')
    parser.add_argument('--output', choices=['logits', 'labels'], default='logits')
    parser.add_argument('--fp16', action='store_true', help='compute in half precision')
    parser.add_argument('--opset', type=int, help="version of ONNX's operators (default: the exporter's choice)")
    parser.add_argument('--static-recall', type=Path, metavar='FILE.json', help='what tools/ablate.py --out wrote')
    parser.add_argument('--frames', type=Path, metavar='IMAGE|FOLDER', help='pictures of the check')
    parser.add_argument('--num-frames', type=at_least(1), default=2, metavar='N', help='how many of them (default: 2)')
    parser.add_argument('--check-sizes', nargs='+', type=size, metavar='HxW', help='sizes of the check')
    parser.add_config_options()
    parser.add_trust()
    args = parser.parse_args()
    if args.format != 'onnx' and args.opset:
        parser.error('--opset belongs to --format onnx')
    if args.out and args.out.suffix != SUFFIX[args.format]:
        parser.error(f'--out needs a file named {SUFFIX[args.format]}, got {args.out}')
    if args.frames and not args.frames.exists():
        parser.error(f'--frames: there is no {args.frames}')
    if args.check_sizes and not args.dynamic:
        parser.error('--check-sizes belongs to --dynamic: a network of one size is checked at that size')
    return args


def sizes_of(args: argparse.Namespace, trained: tuple[int, int] | None) -> tuple[tuple[int, int] | None, Sequence]:
    """The size of the images that it takes, None for any, and the sizes of the check."""
    from mmseg_sr.errors import UserError

    if args.dynamic:
        several = [tuple(times * side + more for side in trained or (512, 1024)) for times, more in SIZES]
        return None, args.check_sizes or several
    if not (args.shape or trained):
        raise UserError('the config does not say the size of its crops: give --shape H W, or --dynamic')
    shape = tuple(args.shape or trained)
    return shape, [shape]


def pictures(cfg, frames: Path | None, count: int) -> tuple[list, str]:
    """Pictures of the check, and where they are from."""
    from mmseg_sr.datasets.build import load_split, read_picture, spread
    from mmseg_sr.datasets.loading import samples
    from mmseg_sr.errors import UserError
    from mmseg_sr.mini_cityscapes import draw_mini_cityscapes
    from mmseg_sr.serving.predictions import find_images

    def some(paths: Sequence[Path]) -> list:
        return [read_picture(paths[index]) for index in spread(len(paths), count)]

    if frames:
        return some(list(find_images(frames).values())), str(frames)
    try:
        paths = [each['img_path'] for each in samples(load_split(cfg, 'val'))]
        return some(paths), 'validation images of the config'
    except UserError:
        with tempfile.TemporaryDirectory() as folder:
            draw_mini_cityscapes(Path(folder), train=count, val=1, size=(512, 256))
            return some(list(find_images(Path(folder, 'leftImg8bit/train')).values())), 'drawn streets'


def write(args: argparse.Namespace, network, metadata, size: tuple[int, int], path: Path) -> tuple[Callable, dict]:
    """Write the network to ``path``; return what runs that file, and what is to be said of it."""
    from mmseg_sr.serving.export import load_program, trace, write_onnx, write_program
    from mmseg_sr.serving.predict import OnnxRuntime, TorchRuntime

    traced = trace(network, size, args.dynamic)
    if args.format == 'onnx':
        said = write_onnx(traced, path, metadata, args.opset)
        return OnnxRuntime(path), said
    write_program(traced, path, metadata)
    return TorchRuntime(*load_program(path)), {}


def check(run: Callable, model, images: list, sizes: Sequence[tuple[int, int]], precision: str) -> list[dict]:
    """Compare at every size, print it, and refuse what differs."""
    from mmseg_sr.errors import UserError
    from mmseg_sr.serving.export import compare

    rows = []
    for each in sizes:
        row = compare(run, model, images, each, precision)
        rows.append(row)
        logits = ''
        if row['max_difference'] is not None:
            logits = f', logits differ by {row["max_difference"]:.2e} at most (largest: {row["max_logit"]:.2f})'
        print(f'{each[0]}x{each[1]}: {100 * row["agreement"]:.4f} % of the labels agree{logits}')
    if not all(row['passed'] for row in rows):
        raise UserError('what was exported computes something else than the network, and is not kept: see the check')
    return rows


def work(args: argparse.Namespace) -> None:
    import torch

    from mmseg_sr.atomic import check_file, replacing
    from mmseg_sr.config import load_config
    from mmseg_sr.memory.interventions import recalling
    from mmseg_sr.options import read_options
    from mmseg_sr.serving.metadata import load, trained_size
    from mmseg_sr.serving.portable import portable_network, read_recall
    from mmseg_sr.serving.predict import require
    from mmseg_sr.version import __version__

    if args.format == 'onnx':
        require('onnx', 'onnxscript', 'onnxruntime')
    cfg = load_config(args.config, read_options(args.cfg_options))
    out = args.out or Path(cfg.work_dir) / f'{Path(args.config).stem}{SUFFIX[args.format]}'
    check_file('--out', out)
    recall = read_recall('--static-recall', args.static_recall) if args.static_recall else {}
    model, metadata = load(cfg, args.checkpoint)
    trained = trained_size(cfg)
    shape, sizes = sizes_of(args, trained)
    metadata.size, metadata.output = list(shape) if shape else None, args.output
    metadata.precision = 'float16' if args.fp16 else 'float32'
    network, metadata = portable_network(model, metadata, recall)
    images, source = pictures(cfg, args.frames, args.num_frames)
    with replacing(out) as partial, ExitStack() as stack:
        run, said = write(args, network, metadata, shape or trained or (64, 64), partial)
        bytes_written = partial.stat().st_size
        opset = f', opset {said["opset"]}' if said else ''
        print(f'{args.format}{opset}, {bytes_written:,} bytes. Checked on {source}:')
        for name, weights in recall.items():
            stack.enter_context(recalling(model.get_submodule(name), torch.tensor(weights)))
        rows = check(run, model, images, sizes, metadata.precision)
    document = {
        'file': str(out),
        'format': args.format,
        'bytes': bytes_written,
        **said,
        **{key: getattr(metadata, key) for key in ('size', 'output', 'precision', 'blocks')},
        'frames': source,
        'checks': rows,
        'versions': {'mmseg_sr': __version__, 'torch': torch.__version__},
    }
    least = min(row['agreement'] for row in rows)
    answer(args, f'{out}, {bytes_written:,} bytes; at least {100 * least:.2f} % of the labels as by PyTorch', document)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
