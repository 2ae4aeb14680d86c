"""Is it memory, or only parameters? Evaluate a trained network with its SR blocks as they are, changed and removed.

    python tools/ablate.py CONFIG CHECKPOINT
    python tools/ablate.py CONFIG CHECKPOINT --num-train 100 --num-val 50 --out ablation.json
    python tools/ablate.py CONFIG work_dirs/a/SR/seed*/iter_800.pth

Nothing is trained. The blocks are left as trained, removed, given the mean softmax weights of the training images for
every image (static recall), given the weights of another image (shuffled), and robbed of memory blocks one by one, or
of all but one. Printed are a table in Markdown, with the change of mIoU, or of a classifier's top-1, and its 95 %
interval over the images, and a sentence. Of several checkpoints, one a seed, they are of the means, with intervals over
the checkpoints; of three or more the sentence says what the blocks and dynamic recall are worth.
"""

import argparse
from pathlib import Path

from _cli import Parser, answer, at_least, counted, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoints', nargs='+', metavar='CHECKPOINT', help='file of the weights')
    parser.add_argument('--num-train', type=at_least(1), metavar='N', help='training images for the mean weights')
    parser.add_argument('--num-val', type=at_least(1), metavar='N', help='images to evaluate (default: all)')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the numbers to FILE.json')
    parser.add_config_options()
    parser.add_trust()
    return parser.parse_args()


def work(args: argparse.Namespace) -> None:
    from torch.utils.data import Subset

    from mmseg_sr.atomic import check_file
    from mmseg_sr.config import load_config
    from mmseg_sr.datasets.build import load_split, spread
    from mmseg_sr.datasets.classes import listed
    from mmseg_sr.experiments.ablation import ablate, over_checkpoints, table
    from mmseg_sr.names import distinct
    from mmseg_sr.options import read_options
    from mmseg_sr.progress import Bar
    from mmseg_sr.provenance import provenance
    from mmseg_sr.runs.models import class_names, load_sr_model

    check_file('--out', args.out)
    cfg = load_config(args.config, read_options(args.cfg_options))
    datasets = load_split(cfg, 'train'), load_split(cfg, 'val')
    counts = args.num_train, args.num_val
    train, val = (Subset(data, spread(len(data), n or len(data))) for data, n in zip(datasets, counts, strict=True))
    models = [load_sr_model(cfg, checkpoint) for checkpoint in args.checkpoints]  # mistakes first
    classes = distinct(listed(datasets[1].metainfo).get('classes') or class_names(models[0])[0])
    results = [ablate(model, train, val, classes, Bar) for model in models]
    result, source = (over_checkpoints(results), 'checkpoints') if len(results) > 1 else (results[0], 'images')
    document = {
        'config': args.config,
        'images': {'train': len(train), 'val': len(val)},
        **result,
        'checkpoints': [{'checkpoint': name, **each} for name, each in zip(args.checkpoints, results, strict=True)],
        **provenance(),
    }
    print(f'\n{table(result["variants"], source)}\n\n{result["verdict"]}\n')
    what = f'{counted(len(models), "checkpoint")} on {counted(len(val), "image")}'
    answer(args, f'{what}, {len(result["variants"])} variants of the SR blocks', document, args.out)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
