"""Predict an image, or a folder of them, with a checkpoint or with what tools/export.py wrote.

    python tools/predict.py MODEL.onnx street.png --out predictions
    python tools/predict.py CONFIG CHECKPOINT data/camvid/img_dir/val --out predictions --batch 4
    python tools/predict.py MODEL.onnx streets --out predictions --mode slide --stride 256 512
    python tools/predict.py CLASSIFIER.onnx cat.png

Of a segmentor it writes for each image, folders below included, DIR/labels/NAME.png, the ids of the classes, and
DIR/overlays/NAME.png, the picture with their colours laid over it; DIR/legend.png names the colours. Where the data set
has reduce_zero_label (ADE20K), the ids are those in its label files, from 1 on, as tools/test.py --out writes them.
Both kinds of network give the same files, but for pixels where two classes are as good.

Of a classifier it gives the five classes that are most likely, each with its probability: printed for the first
images, in the JSON document for all, and with --out in DIR/predictions.csv, a line for each image and rank.

Images are read, resized and predicted, whole or in windows, as the config tests them; --mode, --window and --stride say
otherwise. A network exported for one size takes whole images of that size, or windows of it.

What is there is not predicted again: start a stopped run anew with the same command. A folder that was predicted by
another network, from other pictures or in another way is refused, without --overwrite.

An image that cannot be read, or that the network does not take, is named and stops no other; the exit status is 2 then.
The JSON document has written, skipped and failed, and a classifier's predictions.
"""

import argparse
from pathlib import Path

from _cli import Parser, answer, at_least, program

SHOWN = 20  # images; the JSON document and --out have all


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('model', type=Path, metavar='CONFIG|MODEL.onnx', help='config file, or exported network')
    parser.add_argument('checkpoint', nargs='?', metavar='CHECKPOINT', help='file of the weights, with CONFIG')
    parser.add_argument('source', type=Path, metavar='IMAGE|FOLDER', help='what to predict')
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder of the predictions; a classifier needs none')
    parser.add_argument('--mode', choices=['whole', 'slide'], help="default: the config's")
    parser.add_size('--window', help='size of a window')
    parser.add_size('--stride', help='from one window to the next')
    parser.add_argument('--batch', type=at_least(1), default=1, metavar='N', help='images at once, of one size')
    parser.add_argument('--opacity', type=float, metavar='X', help='of the colours, 0 to 1 (default: 0.5)')
    parser.add_argument('--overwrite', action='store_true', help='predict anew what is there')
    parser.add_config_options()
    parser.add_trust()
    args = parser.parse_intermixed_args()
    if args.opacity is not None and not 0 <= args.opacity <= 1:
        parser.error(f'--opacity must be 0 to 1, got {args.opacity}')
    if not args.source.exists():
        parser.error(f'there is no {args.source}')
    if args.model.suffix == '.onnx' and (args.checkpoint or args.cfg_options):
        parser.error('MODEL.onnx has weights and settings inside: leave out CHECKPOINT and --cfg-options')
    if args.model.suffix != '.onnx' and not args.checkpoint:
        parser.error(f'{args.model} is a config: predict.py CONFIG CHECKPOINT IMAGE|FOLDER, or take a MODEL.onnx')
    return args


def load_predictor(args: argparse.Namespace):
    """The network of a config or a file, used as it says or as the arguments say."""
    from mmseg_sr.config import load_config
    from mmseg_sr.options import read_options
    from mmseg_sr.serving.metadata import load
    from mmseg_sr.serving.network import ServedNetwork
    from mmseg_sr.serving.predict import OnnxRuntime, Predictor, TorchRuntime

    if args.model.suffix == '.onnx':
        run = OnnxRuntime(args.model)
    else:
        model, metadata = load(load_config(args.model, read_options(args.cfg_options)), args.checkpoint)
        run = TorchRuntime(ServedNetwork(model), metadata)
    return Predictor(run, args.mode, args.window, args.stride)


def record(args: argparse.Namespace, predictor) -> dict:
    """What the predictions depend on."""
    from mmseg_sr.checkpoints.reading import sha256_of
    from mmseg_sr.names import find_checkpoint
    from mmseg_sr.options import read_options
    from mmseg_sr.version import __version__

    weights = Path(find_checkpoint(args.checkpoint) if args.checkpoint else args.model)
    digest = str(weights)  # an address
    if weights.is_file():
        with weights.open('rb') as file:
            digest = sha256_of(file)
    place = args.source if args.source.is_dir() else args.source.parent
    return {
        'model': args.model.name,
        'weights': digest,
        'settings': read_options(args.cfg_options) or None,
        'source': str(place.resolve()),
        'mode': predictor.mode,
        'window': predictor.window,
        'stride': predictor.stride,
        'opacity': args.opacity,
        'metadata': vars(predictor.metadata),
        'mmseg_sr': __version__,
    }


def writer_of(args: argparse.Namespace, metadata):
    """What keeps the predictions of a segmentor, or of a classifier."""
    from mmseg_sr.errors import UserError
    from mmseg_sr.serving.writers import LabelMaps, Rankings

    if metadata.task == 'classification':
        if args.opacity is not None:
            raise UserError('--opacity is for the colours of segmentors: a classifier draws nothing')
        if args.overwrite and not args.out:
            raise UserError('--overwrite belongs to --out DIR')
        return Rankings(args.out, metadata)
    if not args.out:
        raise UserError('the predictions of a segmentor are pictures: say their folder by --out DIR')
    args.opacity = 0.5 if args.opacity is None else args.opacity
    return LabelMaps(args.out, metadata, args.opacity)


def ranking_table(found: dict[str, list[dict]]) -> str:
    """Write the most likely classes of each image in Markdown."""
    from tabulate import tabulate

    lines = [[name, *(f'{row["class"]} {100 * row["score"]:.1f} %' for row in rows)] for name, rows in found.items()]
    ranks = range(1, max(map(len, lines)))
    return tabulate(lines, ['image', *map(str, ranks)], tablefmt='github', disable_numparse=True)


def work(args: argparse.Namespace) -> int:
    from mmseg_sr.serving.predictions import claim, find_images, predict_pictures

    pictures = find_images(args.source)
    predictor = load_predictor(args)
    writer = writer_of(args, predictor.metadata)
    if args.out:
        claim(args.out, record(args, predictor), args.overwrite)
    report = predict_pictures(predictor, pictures, writer, args.batch)
    document = {'out': args.out and str(args.out), **vars(report)}
    if found := getattr(writer, 'found', None):
        document['predictions'] = found
        print(f'\n{ranking_table(dict(list(found.items())[:SHOWN]))}\n')
    failed = f', {len(report.failed)} failed' if report.failed else ''
    place = f': {args.out}' if args.out else ''
    answer(args, f'{report.written} predicted, {report.skipped} were there{failed}{place}', document)
    return 2 if report.failed else 0


main = program(parse_args, work)

if __name__ == '__main__':
    main()
