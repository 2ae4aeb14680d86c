"""See what the memory of an SR model does: figures, and the numbers behind them.

    python tools/visualize_sr.py
    python tools/visualize_sr.py CONFIG CHECKPOINT
    python tools/visualize_sr.py CONFIG CHECKPOINT --images street.png --out figures
    python tools/visualize_sr.py CLASSIFIER CHECKPOINT --classes cliff pug church

Without CONFIG and CHECKPOINT it shows the released network with a memory of the scene, on drawn streets
(tools/make_mini_cityscapes.py).

It looks at --num-images images of the config's data, evenly chosen, and draws --pictures of them, or the files given
by --images. Of a classifier's data it looks at so many of each class, as in the paper. Figures show the --classes, or
all; of many some, evenly chosen. Files in the output folder, for each SR block by its name:

    NAME.weights.png   softmax weights of the memory blocks, by class and over all images (paper, Figs 2, 5 to 7)
    NAME.drives.png    the same by city or drive, where file names tell it (up to the first underscore)
    NAME.maps.png      picture, channel-mean map before and after the block, difference (Fig. 3)
    NAME.memory.png    channel-mean map of each memory block (Fig. 4)
    NAME.scores.png    how each class's score changes when a memory block is taken out
    NAME.places.png    where in the picture it changes; not of a classifier
    memory.json        all numbers but the maps, which are in maps.json; weights.csv, scores.csv, images.csv: as tables

Taking memory blocks out costs one more pass an image for each of them, and is done for --num-images images in all;
--no-ablation leaves it, and the last two figures, out. Where the data are not there, --images alone are looked at, and
what needs labels is left out. The JSON document is memory.json.
"""

import argparse
import json
from pathlib import Path

from _cli import Parser, answer, at_least, counted, program

RELEASED = 'fcn_r18-w16-d8-sr-scene-rank16_1xb4-2k_mini-cityscapes-128x256'  # of the model index
MAX_DPI = 2000  # a figure of some 10 inches, and 65,536 pixels are all that matplotlib draws


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('config', nargs='?', default=RELEASED, metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', nargs='?', metavar='CHECKPOINT', help='file of the weights')
    parser.add_argument('--images', nargs='+', type=Path, default=[], metavar='FILE', help='images to draw')
    parser.add_argument('--num-images', type=at_least(1), default=50, metavar='N', help='to look at (default: 50)')
    parser.add_argument('--classes', nargs='+', default=[], metavar='NAME', help='to show in figures (default: all)')
    parser.add_argument('--pictures', type=at_least(1), default=3, metavar='N', help='of them to draw (default: 3)')
    parser.add_argument('--split', choices=['val', 'train'], default='val', help='data to look at (default: val)')
    parser.add_argument('--no-ablation', action='store_true', help='take no memory block out')
    parser.add_argument('--out', type=Path, metavar='DIR', help="default: memory/ in the config's work_dir")
    parser.add_argument('--dpi', type=at_least(1), default=100, help='resolution of the figures (default: 100)')
    parser.add_config_options()
    parser.add_trust()
    args = parser.parse_args()
    if args.checkpoint is None and args.config != RELEASED:
        parser.error(f'{args.config} needs a CHECKPOINT: file of the weights')
    args.checkpoint = args.checkpoint or RELEASED
    if args.dpi > MAX_DPI:
        parser.error(f'--dpi must be at most {MAX_DPI}')
    return args


def find_data(cfg, args: argparse.Namespace):
    """The dataset to look at, or None where it is not there and --images are."""
    from mmseg_sr.datasets.build import check_pictures, load_split
    from mmseg_sr.errors import UserError

    try:
        dataset = load_split(cfg, args.split)
        check_pictures(dataset)
        return dataset
    except UserError as error:
        if not args.images:
            raise UserError(f'{error}. Without data, name image files by --images') from error
        print(f'{error}. Only --images are looked at; weights by class are left out.')
        return None


def look(model, dataset, samples: list[dict], shown: list[int], args: argparse.Namespace) -> tuple[list, list]:
    """What was seen in all images; and those to draw, as samples and what was seen in them."""
    from mmseg_sr.datasets.build import spread
    from mmseg_sr.memory.observe import observe
    from mmseg_sr.progress import Bar
    from mmseg_sr.report.seeing import read, see

    bar = Bar(samples, 'images', unit='image') if samples else ()
    drawn = [(sample, observe(model, sample, not args.no_ablation)) for sample in bar]
    if dataset is None:
        return [seen for _, seen in drawn], drawn
    chosen, seen = see(model, dataset, args.num_images, args.split, ablate=not args.no_ablation)
    if not drawn:
        asked = args.classes and [place for place, each in enumerate(seen) if each.shows(shown)]
        places = asked or range(len(seen))
        places = [places[index] for index in spread(len(places), args.pictures)]
        drawn = [(read(dataset, chosen[place], args.split), seen[place]) for place in places]
    return seen, drawn


def maps_document(summaries: dict, drawn: list) -> dict:
    """The maps of the figures, as JSON takes them."""
    from mmseg_sr.memory.summary import plain

    pictures = []
    for _, seen in drawn:
        kinds = ('before', 'after', 'place_change')
        blocks = {name: {kind: getattr(block, kind) for kind in kinds} for name, block in seen.blocks.items()}
        pictures.append({'image': Path(seen.path).name, 'blocks': blocks})
    return plain({'memory': {name: each.memory_means for name, each in summaries.items()}, 'pictures': pictures})


def tables(summaries: dict, seen: list, classes: list[str]) -> dict[str, list[dict]]:
    """The rows of the CSV files, by their names; files without a row are left out."""
    from mmseg_sr.memory.summary import image_rows, score_rows, weight_rows

    found = {
        'weights.csv': [row for name, each in summaries.items() for row in weight_rows(name, each)],
        'scores.csv': [row for name, each in summaries.items() for row in score_rows(name, each)],
        'images.csv': image_rows(seen, classes),
    }
    return {name: rows for name, rows in found.items() if rows}


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.atomic import check_folder, replacing, write_csv, write_text
    from mmseg_sr.config import load_config
    from mmseg_sr.datasets.build import load_images
    from mmseg_sr.memory.summary import summarise
    from mmseg_sr.models.find import sr_blocks
    from mmseg_sr.options import read_options
    from mmseg_sr.report.seeing import block_figures, choose_classes, picture_of
    from mmseg_sr.runs.models import class_names, load_sr_model

    cfg = load_config(args.config, read_options(args.cfg_options))
    out = args.out or Path(cfg.work_dir) / 'memory'
    check_folder('--out', out)
    model = load_sr_model(cfg, args.checkpoint)
    samples = load_images(cfg, args.images)
    dataset = find_data(cfg, args)
    classes, palette = class_names(model, dataset)
    shown = choose_classes(classes, args.classes)

    seen, drawn = look(model, dataset, samples, shown, args)
    pictures = [(picture_of(sample, each, classes), each) for sample, each in drawn]
    summaries = {name: summarise(seen, name, block, classes) for name, block in sr_blocks(model).items()}
    files = ['memory.json', 'maps.json']
    for name, rows in tables(summaries, seen, classes).items():
        files.append(name)
        write_csv(out / name, rows)
    for name, summary in summaries.items():
        for ending, figure in block_figures(name, summary, pictures, palette, shown).items():
            files.append(f'{name}.{ending}.png')
            with replacing(out / files[-1]) as partial:
                figure.savefig(partial, dpi=args.dpi)
    write_text(out / 'maps.json', json.dumps(maps_document(summaries, drawn), allow_nan=False) + '\n')
    document = {
        'config': args.config,
        'checkpoint': args.checkpoint,
        'data': args.split if dataset is not None else 'images',
        'windows': max(each.windows for each in seen),
        'out': str(out),
        'files': sorted(files),
        'blocks': {name: summary.document() for name, summary in summaries.items()},
    }
    figures = sum(name.endswith('.png') for name in files)
    answer(args, f'{counted(figures, "figure")} and the numbers are in {out}', document, out / 'memory.json')


main = program(parse_args, work)

if __name__ == '__main__':
    main()
