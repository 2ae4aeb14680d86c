"""Look at every image and label that a config trains, validates and tests on, before a training comes to them.

    python tools/check_dataset.py CONFIG
    python tools/check_dataset.py CONFIG --workers 8 --out problems.json

The datasets are those of train_dataloader, val_dataloader and test_dataloader; val and test are one split where they
read the same files. Files are opened by the loading transforms of each dataset's pipeline. A label is a label map, or
in the data of a classifier the number of a class. Found are:

    missing      a label map or an image that is not there; a label map without an image, where folders are listed
    unreadable   cut short, damaged, no image, or of a monstrous size
    wrong size   label map and image differ in width or height; an image of a classifier has another size than most,
                 and the pipeline does not bring them to one
    channels     label maps with more than one, images with others than the network takes
    label ids    pixels, or labels of images, that are neither a class of the model nor void (its ignore_index)
    all void     a label map in which every pixel is void
    duplicate    the same image, byte for byte, in two splits

Printed are a table, the first problems, of each class the share of pixels or the number of images, and what is no
problem but should be known: a class without a pixel or an image, one name for two classes, a model with other classes
than the data. The JSON document has all problems and counts: pixels, or labels of a classifier. The exit status is 1
where there are problems.
"""

import argparse
import os
from collections import Counter
from pathlib import Path

from _cli import Parser, answer, at_least, counted, program

SHOWN = 20  # problems; --out has all


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    parser.add_argument('--workers', type=at_least(1), default=cpus, metavar='N', help='files at once (default: CPUs)')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the JSON document to FILE.json')
    parser.add_config_options()
    return parser.parse_args()


def problem_table(splits: dict) -> str:
    """Write the number of problems of each kind in Markdown."""
    from tabulate import tabulate

    from mmseg_sr.datasets.look import KINDS

    lines = []
    for name, split in splits.items():
        counts = Counter(problem.kind for problem in split.problems)
        lines.append([name, len(split.pairs), *(counts[kind] for kind in KINDS)])
    return tabulate(lines, ['split', 'images', *KINDS], tablefmt='github')


def class_table(splits: dict, classes: list[str], of_images: bool) -> str:
    """Write of each class the number of images, or its share in the pixels that are a class, in Markdown."""
    from tabulate import tabulate

    counts = [[split.counts[index] for index in range(len(classes))] for split in splits.values()]
    cells = [[n if of_images else f'{n / max(1, sum(each)):.3%}' for n in each] for each in counts]
    return tabulate(zip(classes, *cells, strict=True), ['class', *splits], tablefmt='github', disable_numparse=[0])


def class_names(datasets: dict, count: int | None) -> tuple[list[str], list[str]]:
    """Name the classes, and say which have one name."""
    from mmseg_sr.datasets.classes import listed
    from mmseg_sr.names import distinct

    names = listed(next(iter(datasets.values())).metainfo).get('classes', [])
    names = names[:count] + [f'class {index}' for index in range(len(names), count or 0)]
    twins = [name for name, number in Counter(names).items() if number > 1]
    return distinct(names), [f'several classes are called {", ".join(twins)}'] if twins else []


def describe(config: str, splits: dict, classes: list[str], unit: str) -> dict:
    return {
        'config': config,
        'problems': sum(len(split.problems) for split in splits.values()),
        'splits': {
            name: {
                'images': len(split.pairs),
                'problems': [problem._asdict() for problem in split.problems],
                unit: {each: split.counts[index] for index, each in enumerate(classes)},
            }
            for name, split in splits.items()
        },
    }


def work(args: argparse.Namespace) -> int:
    from mmseg_sr.atomic import check_file
    from mmseg_sr.config import is_classifier, load_config
    from mmseg_sr.datasets.build import build_datasets, channels_of
    from mmseg_sr.datasets.check import check
    from mmseg_sr.datasets.classes import class_notes, heads_of, labels_of
    from mmseg_sr.options import read_options

    check_file('--out', args.out)
    cfg = load_config(args.config, read_options(args.cfg_options))
    of_images = is_classifier(cfg)
    datasets = build_datasets(cfg)
    count, ignored = labels_of(cfg)
    trained = min(heads_of(cfg).values(), default=None)
    splits = check(datasets, count, ignored, channels_of(cfg), args.workers, trained)
    classes, notes = class_names(datasets, count)
    document = describe(args.config, splits, classes, 'labels' if of_images else 'pixels')
    notes += class_notes(cfg, next(iter(datasets.values())))
    for name, split in splits.items():
        absent = [each for index, each in enumerate(classes) if not split.counts[index]]
        notes += [f'{name}: no {"image" if of_images else "pixel"} of {", ".join(absent)}'] if absent else []
    document['notes'] = notes
    problems = [(name, *problem) for name, split in splits.items() for problem in split.problems]
    print(f'\n{problem_table(splits)}\n')
    for problem in problems[:SHOWN]:
        print(': '.join(problem))
    if len(problems) > SHOWN:
        print(f'... and {len(problems) - SHOWN} more, in the JSON document (--out FILE.json)')
    print(f'\n{class_table(splits, classes, of_images)}\n')
    for note in notes:
        print(note)
    images = counted(sum(len(split.pairs) for split in splits.values()), 'image')
    answer(args, f'{counted(len(problems), "problem")} in {images}', document, args.out)
    return 1 if problems else 0


main = program(parse_args, work)

if __name__ == '__main__':
    main()
