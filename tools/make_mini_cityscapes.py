"""Draw mini-Cityscapes: street scenes of all 19 classes in the official layout, in seconds and without a download.

    python tools/make_mini_cityscapes.py data/mini_cityscapes
    python tools/make_mini_cityscapes.py data/mini_cityscapes --train 48 --val 16 --size 256 128 --seed 0

The images and their polygons are drawn by a seeded random generator, the same on every run; cityscapesscripts turns
the polygons into label images. It is made to try the code out: a score on it says nothing about Cityscapes.

Run again with the same arguments, what is there is kept; a folder made with other arguments is refused.
The JSON document has the number of frames of each split.
"""

import argparse
from pathlib import Path

from _cli import Parser, answer, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('out', metavar='OUT', type=Path, help='folder to make')
    parser.add_argument('--train', type=int, default=48, help='number of train frames (default: %(default)s)')
    parser.add_argument('--val', type=int, default=16, help='number of val frames (default: %(default)s)')
    parser.add_size('--size', type=int, metavar=('W', 'H'), default=(256, 128), help='pixels')
    parser.add_argument('--seed', type=int, default=0, help='another seed, other streets (default: %(default)s)')
    return parser.parse_args()


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.datasets.cityscapes import prepare
    from mmseg_sr.mini_cityscapes import draw_mini_cityscapes

    draw_mini_cityscapes(args.out, args.train, args.val, tuple(args.size), args.seed)
    counts = prepare([args.out], args.out, subset=True)
    frames = ', '.join(f'{number:,} {split}' for split, number in counts.items())
    answer(args, f'{args.out} is ready for mmseg: {frames} frames', counts)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
