"""Is it memory, or only parameters? Evaluate a trained network with its SR blocks as they are, changed and removed.

    python tools/ablate.py CONFIG CHECKPOINT
    python tools/ablate.py CONFIG CHECKPOINT --num-train 100 --num-val 50 --out ablation.json
    python tools/ablate.py CONFIG work_dirs/a/SR/seed*/iter_800.pth

Nothing is trained. The blocks are left as trained, removed, given the mean softmax weights of the training images for
every image (static recall), given the weights of another image (shuffled), and robbed of memory blocks one by one,
or of all but one. Printed are a table in Markdown, with the change of mIoU and its 95 % interval over the images, and
a sentence on what dynamic recall is worth. Given several checkpoints, one a seed, the table and the sentence are of
their means, and the interval is over the checkpoints. The last line of the output is a JSON document; --out writes it
to a file.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from mmseg_sr.atomic import check_file, replacing
from mmseg_sr.config import OptionAction, checkpoint_arguments, load_config
from mmseg_sr.datasets.build import load_split, spread
from mmseg_sr.errors import UserError, command
from mmseg_sr.experiments.ablation import ablate, over_checkpoints
from mmseg_sr.provenance import provenance
from mmseg_sr.runs.models import load_sr_model


class Some(Sequence):
    """Some images of a dataset, evenly over all of it."""

    def __init__(self, dataset: Sequence, count: int):
        self.dataset, self.metainfo = dataset, dataset.metainfo
        self.chosen = spread(len(dataset), count)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.chosen[index]]


def table(rows: dict[str, dict], source: str) -> str:
    """The variants in Markdown; a score is a number, or has a mean and a standard deviation."""
    lines = [f'| SR blocks | mIoU | mAcc | aAcc | change of mIoU | 95 % over {source} |', '|---|---|---|---|---|---|']
    for name, row in rows.items():
        change = row['change']
        interval = '-' if change['low'] is None else f'[{change["low"]:+.3f}, {change["high"]:+.3f}]'
        scores = ' | '.join(_score(row[metric]) for metric in ('mIoU', 'mAcc', 'aAcc'))
        lines.append(f'| {name} | {scores} | {change["mIoU"]:+.3f} | {interval} |')
    return '\n'.join(lines)


def _score(score: float | dict) -> str:
    return f'{score["mean"]:.2f} ± {score["std"]:.2f}' if isinstance(score, dict) else f'{score:.2f}'


def progress(items: Sequence, task: str) -> Iterator:
    return iter(tqdm(items, task, unit='image'))


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[checkpoint_arguments()]
    )
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoints', nargs='+', metavar='CHECKPOINT', help='file of the weights')
    parser.add_argument(
        '--num-train', type=int, default=10**9, metavar='N', help='training images for the mean weights'
    )
    parser.add_argument('--num-val', type=int, default=10**9, metavar='N', help='images to evaluate (default: all)')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the numbers to FILE.json')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE', help='change the config')
    args = parser.parse_args()
    if min(args.num_train, args.num_val) < 1:
        raise UserError('--num-train and --num-val must be at least 1')
    check_file('--out', args.out)
    cfg = load_config(args.config, args.cfg_options)
    train, val = (
        Some(load_split(cfg, split), count) for split, count in (('train', args.num_train), ('val', args.num_val))
    )
    models = [load_sr_model(cfg, checkpoint) for checkpoint in args.checkpoints]  # mistakes first
    results = [ablate(model, train, val, progress=progress) for model in models]
    result, source = (over_checkpoints(results), 'checkpoints') if len(results) > 1 else (results[0], 'images')
    document = {
        'config': args.config,
        'images': {'train': len(train), 'val': len(val)},
        **result,
        'checkpoints': [{'checkpoint': name, **each} for name, each in zip(args.checkpoints, results, strict=True)],
        **provenance(),
    }
    text = json.dumps(document, allow_nan=False)
    if args.out:
        with replacing(args.out) as partial:
            partial.write_text(f'{text}\n')
    print(f'\n{table(result["variants"], source)}\n\n{result["verdict"]}\n')
    print(text)


if __name__ == '__main__':
    main()
