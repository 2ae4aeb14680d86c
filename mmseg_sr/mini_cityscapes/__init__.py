"""Draw mini-Cityscapes: street scenes of all 19 classes in the official layout, to train without a download.

Every frame shows the common classes; buses, trucks, trains, walls, fences, motorcycles and bicycles take turns, so that
three frames of a split hold all 19. Train and val have different cities, and a city its own light, colours and widths.
"""

import json
from pathlib import Path

import numpy as np

from ..atomic import replacing, write_text
from ..errors import UserError
from ..progress import Bar
from .painting import paint
from .streets import draw_scene
from .world import Camera, city_style

CITIES = {
    'train': ('ahornstadt', 'buchenstadt', 'eibenstadt', 'fichtenstadt', 'kiefernstadt'),
    'val': ('lindenstadt', 'pappelstadt', 'tannenstadt', 'ulmenstadt', 'weidenstadt'),
}
MARKER = 'mini_cityscapes.json'
MIN_SIZE, MAX_SIZE = 64, 4096
MAX_FRAMES = 10**6  # their file names have six digits
MAX_ASPECT = 4  # width by height; a portrait frame has no room for a street


def draw_mini_cityscapes(
    out: Path, train: int = 48, val: int = 16, size: tuple[int, int] = (256, 128), seed: int = 0
) -> None:
    """Draw the images and polygons of a mini-Cityscapes: same arguments, same bytes. Files that are there are kept.

    ``datasets.cityscapes.prepare([out], out, subset=True)`` makes the label maps of them.

    Args:
        out: Folder; new, empty, or made with the same arguments.
        train: Number of train frames.
        val: Number of val frames.
        size: (width, height) in pixels, each 64 to 4096; 1 to 4 times as wide as high.
        seed: Another seed gives other streets.

    Raises:
        UserError: Where an argument is out of range, or the folder holds something else.
    """
    arguments = {'train': train, 'val': val, 'size': list(size), 'seed': seed}
    _check_arguments(arguments)
    _claim(out, arguments)
    frames = [(split, index) for split, count in (('train', train), ('val', val)) for index in range(count)]
    for split, index in Bar(frames, desc='draw', unit='frame'):
        _write_frame(out, split, index, size, seed)


def _write_frame(out: Path, split: str, index: int, size: tuple[int, int], seed: int) -> None:
    number = index % len(CITIES[split])
    city = CITIES[split][number]
    stem = f'{split}/{city}/{city}_{index:06d}_000019'
    image_path = out / 'leftImg8bit' / f'{stem}_leftImg8bit.png'
    polygons_path = out / 'gtFine' / f'{stem}_gtFine_polygons.json'
    if image_path.exists() and polygons_path.exists():
        return
    split_number = list(CITIES).index(split)
    style = city_style(np.random.default_rng([seed, 2 + split_number, number]))
    rng = np.random.default_rng([seed, split_number, index])
    horizon = size[1] * rng.uniform(0.38, 0.47)
    camera = Camera(*size, horizon, bend=rng.normal(0, 0.0012), aside=style.road * rng.uniform(0.15, 0.4))
    things = draw_scene(camera, style, rng, index)
    objects = [{'label': thing.label, 'polygon': thing.polygon} for thing in things if thing.label]
    write_text(polygons_path, json.dumps({'imgHeight': size[1], 'imgWidth': size[0], 'objects': objects}))
    with replacing(image_path) as partial:
        paint(things, size, style, rng).save(partial)


def _check_arguments(arguments: dict) -> None:
    for split in ('train', 'val'):
        if not 1 <= arguments[split] <= MAX_FRAMES:
            raise UserError(f'{split} must be 1 to {MAX_FRAMES:,} frames, not {arguments[split]}')
    size = arguments['size']
    if len(size) != 2 or not all(MIN_SIZE <= length <= MAX_SIZE for length in size):
        raise UserError(f'size must be a width and a height of {MIN_SIZE} to {MAX_SIZE} pixels, not {size}')
    if not 1 <= size[0] / size[1] <= MAX_ASPECT:
        raise UserError(f'size must be 1 to {MAX_ASPECT} times as wide as high, not {size[0]}x{size[1]}')
    if arguments['seed'] < 0:
        raise UserError(f'seed must be 0 or more, not {arguments["seed"]}')


def _claim(out: Path, arguments: dict) -> None:
    """Mark a folder with its arguments, before any other file, or check that its marker says the same."""
    marker = out / MARKER
    try:
        out.mkdir(parents=True, exist_ok=True)
        if all(path.name.startswith('.') for path in out.iterdir()):
            write_text(marker, json.dumps(arguments) + '\n')
    except OSError as error:
        raise UserError(f'cannot write to {out}: {error.strerror}') from None
    try:
        found = json.loads(marker.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        raise UserError(f'{out} is not empty and holds no mini-Cityscapes. Choose another folder') from None
    if found != arguments:
        raise UserError(f'{out} was made with {found}, not {arguments}. Choose another folder or delete this one')
