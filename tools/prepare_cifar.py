"""Make CIFAR-10 or CIFAR-100 ready for training: the official archive, to images and lists of them.

    python tools/prepare_cifar.py cifar-100-python.tar.gz --out data/cifar100

The ARCHIVE is the "python version" of https://www.cs.toronto.edu/~kriz/cifar.html: cifar-10-python.tar.gz or
cifar-100-python.tar.gz. What its pickles hold is read and never run.

Images become PNG files by class, and train.txt, val.txt and test.txt list them: of the 50,000 training images a tenth
of each class is for validation, the same at every time; the 10,000 test images are for the test. classes.txt names the
classes. The numbers are checked; --subset accepts others. DIR appears whole or not at all. The JSON document has the
number of images of each list.
"""

import argparse
from pathlib import Path

from _cli import Parser, answer, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('archive', metavar='ARCHIVE', type=Path, help='an official tar.gz file')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder to make')
    parser.add_argument('--subset', action='store_true', help='accept any number of images')
    return parser.parse_args()


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.atomic import check_folder
    from mmseg_sr.datasets.cifar import prepare_cifar

    check_folder('--out', args.out)
    counts = prepare_cifar(args.archive, args.out, args.subset)
    images = ', '.join(f'{number:,} {name}' for name, number in counts.items() if name != 'classes')
    answer(args, f'{args.out} is ready for training: {images} images of {counts["classes"]} classes', counts)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
