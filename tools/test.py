"""Evaluate a checkpoint on the test data of a config: on one GPU, or on the CPU where there is none.

    python tools/test.py CONFIG CHECKPOINT
    python tools/test.py CONFIG CHECKPOINT --tta --metrics metrics.json
    python tools/test.py CONFIG CHECKPOINT --out predictions --show-dir drawings

The JSON document has all numbers; --metrics writes it to a file too. `metrics` has mIoU, mAcc, aAcc and
IoU.<class> in percent, unrounded, null for a class that is in neither prediction nor ground truth; of a classifier it
has top1, top5 and top1.<class>. Evaluators other than IoUMetric report as they are.

--out writes predictions as PNG files of class ids (of Cityscapes label ids where the evaluator is CityscapesMetric, of
those in the label files, from 1 on, where the data set has reduce_zero_label). Where several evaluators write, the
first fills DIR and every other DIR/<its type>: their ids differ. Images of several folders get folders of the same
names, in --show-dir too; CityscapesMetric's have one, where no two have one name. legend.png beside the drawings of
--show-dir names the colours of the classes.

--format-only writes predictions for a server that has the labels, and evaluates nothing: images without labels will do.
For Cityscapes they are label ids, in files named as its server and cityscapesscripts want them:

    python tools/test.py CONFIG CHECKPOINT --tta --format-only --out submission \\
        --cfg-options test_dataloader.dataset.data_prefix.img_path=leftImg8bit/test

--confusion writes the confusion matrix of each image (numpy's npz: confusion, images, classes), from which all metrics
of any choice of images follow. Of a classifier it writes what was said of each image instead: label, predicted, top5.

A checkpoint of the stock model can be evaluated with the config of an SR model: its blocks are the identity then.
--without-sr makes them the identity with an SR checkpoint too: what the rest of the network does by itself. Any other
checkpoint that does not fit the model is refused. Several processes: tools/dist_test.sh and tools/slurm_test.sh.
"""

import argparse
import math
import time
from pathlib import Path

from _cli import Parser, answer, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='file of the weights')
    parser.add_argument('--tta', action='store_true', help="with the config's test-time augmentation")
    parser.add_argument('--without-sr', action='store_true', help='with every SR block removed')
    parser.add_argument('--metrics', type=Path, metavar='FILE.json', help='write the numbers to FILE.json')
    parser.add_argument('--confusion', type=Path, metavar='FILE.npz', help="write each image's confusion matrix")
    parser.add_argument('--out', type=Path, metavar='DIR', help='write predictions to DIR')
    parser.add_argument('--format-only', action='store_true', help='with --out: predictions only, no labels needed')
    parser.add_argument('--show-dir', type=Path, metavar='DIR', help='draw predictions into DIR')
    parser.add_run()
    args = parser.parse_args()
    if args.format_only and not args.out:
        parser.error('--format-only writes predictions: say where by --out DIR')
    if args.format_only and (args.metrics or args.confusion):
        parser.error('--format-only evaluates nothing: leave out --metrics and --confusion')
    if args.confusion and args.confusion.suffix != '.npz':
        parser.error(f'--confusion needs a file named .npz, got {args.confusion}')
    return args


def configure(args: argparse.Namespace):
    """Read the config, and let it write what was asked for; refuse places that cannot be written."""
    from mmseg_sr.atomic import check_file, check_folder
    from mmseg_sr.config import load_config
    from mmseg_sr.options import merge_options, read_options
    from mmseg_sr.runs.test_outputs import for_submission, with_confusion, with_drawings, with_predictions

    for name, folder in (('--out', args.out), ('--show-dir', args.show_dir)):
        check_folder(name, folder)
    for name, file in (('--metrics', args.metrics), ('--confusion', args.confusion)):
        check_file(name, file)
    flags = {'work_dir': args.work_dir, 'launcher': args.launcher}
    cfg = load_config(args.config, merge_options(read_options(args.cfg_options), flags))
    if args.format_only:
        cfg = for_submission(cfg, args.out)
    elif args.out:
        cfg = with_predictions(cfg, args.out)
    if args.confusion:
        cfg = with_confusion(cfg, args.confusion)
    return with_drawings(cfg, args.show_dir) if args.show_dir else cfg


def describe(args: argparse.Namespace, cfg, metrics: dict, seconds: float) -> dict:
    """Say what was measured, how, and with what."""
    from mmseg_sr.provenance import provenance, versions

    return {
        'config': args.config,
        'checkpoint': args.checkpoint,
        'mode': 'multi-scale + flip' if args.tta else 'single-scale',
        'without_sr': args.without_sr,
        'inference': (cfg.model.get('test_cfg') or {}).get('mode', 'whole'),
        'metrics': {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()},
        'versions': versions(),
        **provenance(),
        'seconds': round(seconds, 3),
    }


def sentence(args: argparse.Namespace, metrics: dict[str, float | None]) -> str:
    """Say the main numbers, and where the files are."""
    main = {name: value for name, value in metrics.items() if name in ('mIoU', 'mAcc', 'top1', 'top5')}
    main = main or {name: value for name, value in metrics.items() if not name.startswith('IoU.')}
    numbers = [f'{name} {"-" if value is None else f"{value:.2f}"}' for name, value in list(main.items())[:4]]
    written = {'metrics': args.metrics, 'confusion matrices': args.confusion}
    written |= {'predictions': args.out, 'drawings': args.show_dir}
    places = [f'{what} in {place}' for what, place in written.items() if place]
    return '; '.join(filter(None, [', '.join(numbers), *places])) or 'tested; the config evaluates nothing'


def test(args: argparse.Namespace) -> None:
    from mmseg_sr.processes import is_first_process
    from mmseg_sr.runs import launch

    cfg = configure(args)
    start = time.monotonic()
    metrics = launch.test(cfg, args.checkpoint, tta=args.tta, without_sr=args.without_sr)
    if is_first_process(cfg):
        document = describe(args, cfg, metrics, time.monotonic() - start)
        answer(args, sentence(args, document['metrics']), document, args.metrics)


main = program(parse_args, test, launched=True)

if __name__ == '__main__':
    main()
