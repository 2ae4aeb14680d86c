"""Predict an image, or a folder of them, with a checkpoint or with what tools/export.py wrote.

    python tools/predict.py MODEL.onnx street.png --out predictions
    python tools/predict.py CONFIG CHECKPOINT data/camvid/img_dir/val --out predictions --batch 4
    python tools/predict.py MODEL.onnx streets --out predictions --mode slide --stride 256 512

Writes for each image, folders below included, DIR/labels/NAME.png, the ids of the classes, and DIR/overlays/NAME.png,
the picture with their colours laid over it; DIR/legend.png names the colours. Where the data set has reduce_zero_label
(ADE20K), the ids are those in its label files, from 1 on, as tools/test.py --out writes them. Both kinds of network
give the same files, but for pixels where two classes are as good.

Images are read, resized and predicted, whole or in windows, as the config tests them; --mode, --window and --stride say
otherwise. A network exported for one size takes whole images of that size, or windows of it.

What is there is not predicted again: start a stopped run anew with the same command. A folder that was predicted by
another network, from other pictures or in another way is refused, without --overwrite.

An image that cannot be read, or that the network does not take, is named and stops no other. The exit status is 2 then,
as it is for a mistake in what was given. The JSON document has written, skipped and failed.
"""

import argparse
from pathlib import Path

from _cli import Parser, answer, at_least, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('model', type=Path, metavar='CONFIG|MODEL.onnx', help='config file, or exported network')
    parser.add_argument('checkpoint', nargs='?', metavar='CHECKPOINT', help='file of the weights, with CONFIG')
    parser.add_argument('source', type=Path, metavar='IMAGE|FOLDER', help='what to predict')
    parser.add_argument('--checkpoint', dest='old', help=argparse.SUPPRESS)
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder of the predictions')
    parser.add_argument('--mode', choices=['whole', 'slide'], help="default: the config's")
    parser.add_size('--window', type=int, help='size of a window')
    parser.add_size('--stride', type=int, help='from one window to the next')
    parser.add_argument('--batch', type=at_least(1), default=1, metavar='N', help='images at once, of one size')
    parser.add_argument('--opacity', type=float, default=0.5, metavar='X', help='of the colours, 0 to 1')
    parser.add_argument('--overwrite', action='store_true', help='predict anew what is there')
    parser.add_config_options()
    parser.add_trust()
    args = parser.parse_intermixed_args()
    if args.old:
        parser.error('there is no --checkpoint any more: predict.py CONFIG CHECKPOINT IMAGE|FOLDER --out DIR')
    if not 0 <= args.opacity <= 1:
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
    from mmseg_sr.config import load_config, read_options, require_segmentor
    from mmseg_sr.serving.metadata import load
    from mmseg_sr.serving.network import OnnxRuntime, ServedNetwork, TorchRuntime
    from mmseg_sr.serving.predict import Predictor

    if args.model.suffix == '.onnx':
        run = OnnxRuntime(args.model)
    else:
        segmentor, metadata = load(
            require_segmentor(load_config(args.model, read_options(args.cfg_options))), args.checkpoint
        )
        run = TorchRuntime(ServedNetwork(segmentor), metadata)
    return Predictor(run, args.mode, args.window, args.stride)


def record(args: argparse.Namespace, predictor) -> dict:
    """What the predictions depend on."""
    from mmseg_sr.checkpoints.reading import sha256_of
    from mmseg_sr.config import read_options
    from mmseg_sr.names import find_checkpoint
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


def work(args: argparse.Namespace) -> int:
    from mmseg_sr.serving.predictions import claim, find_images, predict_pictures

    pictures = find_images(args.source)
    predictor = load_predictor(args)
    claim(args.out, record(args, predictor), args.overwrite)
    report = predict_pictures(predictor, pictures, args.out, args.batch, args.opacity)
    failed = f', {len(report.failed)} failed' if report.failed else ''
    sentence = f'{report.written} predicted, {report.skipped} were there{failed}: {args.out}'
    answer(args, sentence, {'out': str(args.out), **vars(report)})
    return 2 if report.failed else 0


main = program(parse_args, work)

if __name__ == '__main__':
    main()
