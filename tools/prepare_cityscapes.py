"""Make Cityscapes ready for mmseg: the official zip files, or an unpacked folder, to train-id label images.

    python tools/prepare_cityscapes.py leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip --out data/cityscapes
    python tools/prepare_cityscapes.py data/cityscapes --jobs 8

A SOURCE is one of the two zip files of https://www.cityscapes-dataset.com/downloads, or a folder that holds
leftImg8bit/ or gtFine/. Polygons become labelTrainIds (and labelIds and instanceIds where these are missing);
where there are only labelIds, cityscapesscripts' label table turns them into labelTrainIds.

Every image and annotation is checked: 2,975 train, 500 val and 1,525 test frames, and each file readable. What is
missing or unreadable is named, and the exit status is 2. Run it again at any time: only what is missing is made.
The JSON document has the number of frames of each split.
"""

import argparse
from pathlib import Path

from _cli import Parser, answer, at_least, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('sources', metavar='SOURCE', nargs='+', type=Path, help='an official zip file or a folder')
    parser.add_argument('--out', type=Path, help='data root to fill (default: SOURCE, where it is one folder)')
    parser.add_argument('--subset', action='store_true', help='accept any number of frames')
    parser.add_argument('--jobs', type=at_least(1), default=1, help='processes that make labels (default: %(default)s)')
    args = parser.parse_args()
    if args.out is None and (len(args.sources) > 1 or not args.sources[0].is_dir()):
        parser.error('say with --out DIR where to unpack to (it can be left out for one folder only)')
    args.out = args.out or args.sources[0]
    return args


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.datasets.cityscapes import prepare

    counts = prepare(args.sources, args.out, subset=args.subset, jobs=args.jobs)
    frames = ', '.join(f'{number:,} {split}' for split, number in counts.items())
    answer(args, f'{args.out} is ready for mmseg: {frames} frames', counts)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
