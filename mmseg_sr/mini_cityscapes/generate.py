"""Mini-Cityscapes: drawn street scenes of all 19 classes in the official layout, to train without a download.

Every frame shows the common classes; buses, trucks, trains, walls, fences, motorcycles and bicycles take turns, so that
three frames of a split hold all 19. Train and val have different cities, and a city its own light, colours and widths.
"""

import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..atomic import replacing
from ..errors import UserError
from . import kerbside, streets, vehicles
from .painting import outline_mask, paint
from .world import Camera, Rng, Style, Thing, city_style

CITIES = {
    'train': ('ahornstadt', 'buchenstadt', 'eibenstadt', 'fichtenstadt', 'kiefernstadt'),
    'val': ('lindenstadt', 'pappelstadt', 'tannenstadt', 'ulmenstadt', 'weidenstadt'),
}
COMMON = {'road', 'sidewalk', 'building', 'pole', 'traffic light', 'traffic sign', 'vegetation', 'terrain', 'sky'}
COMMON |= {'person', 'rider', 'car'}
MARKER = 'mini_cityscapes.json'
MIN_SIZE, MAX_SIZE = 64, 4096
MAX_FRAMES = 10**6  # their file names have six digits
MAX_ASPECT = 4  # width by height; a portrait frame has no room for a street
MIN_SHARE = 3e-4  # of the frame's pixels that a class must keep in sight, 10 of 256x128
ATTEMPTS = 1000  # 1 to 3 do, 20 in the smallest frames


def draw_mini_cityscapes(
    out: Path, train: int = 48, val: int = 16, size: tuple[int, int] = (256, 128), seed: int = 0
) -> None:
    """Draw the images and polygons of a mini-Cityscapes, or reuse those in the folder; same arguments, same bytes.

    ``datasets.cityscapes.prepare([out], out, subset=True)`` makes the label maps of them.

    An interrupted run is taken up where it stopped, and what was deleted is drawn again.

    Args:
        out: Folder; new, empty, or made with the same arguments.
        train: Number of train frames.
        val: Number of val frames.
        size: (width, height) in pixels, each 64 to 4096; 1 to 4 times as wide as high.
        seed: Another seed gives other streets.

    Raises:
        UserError: Where an argument is out of range, or the folder holds something else.
    """
    out = Path(out)
    arguments = {'train': train, 'val': val, 'size': list(size), 'seed': seed}
    _check_arguments(arguments)
    _claim(out, arguments)
    frames = [('train', index) for index in range(train)] + [('val', index) for index in range(val)]
    for split, index in tqdm(frames, desc='draw', unit='frame'):
        _write_frame(out, split, index, size, seed)


def draw_scene(camera: Camera, style: Style, rng: Rng, index: int = 0) -> list[Thing]:
    """Compose a street in drawing order, anew until every class that frame ``index`` must show can be seen.

    Raises:
        RuntimeError: Where that never happens.
    """
    large = ('bus', 'truck', 'train')[index % 3]
    border, wheels = (('wall', 'bicycle'), ('fence', 'motorcycle'))[index % 2]
    required = COMMON | {large, border, wheels}
    for _ in range(ATTEMPTS):
        things = _compose(camera, style, rng, (large, border, wheels))
        if required <= visible(things, (camera.width, camera.height)):
            return things
    raise RuntimeError(f'no scene with {", ".join(sorted(required))} in {ATTEMPTS} attempts')


def visible(things: list[Thing], size: tuple[int, int]) -> set[str]:
    """Return the labels that keep enough pixels once everything in front of them is drawn."""
    names = sorted({thing.label for thing in things if thing.label})
    numbers = np.full(size[::-1], -1)
    for thing in things:
        if thing.label and thing.label != 'license plate':
            numbers[outline_mask(thing.polygon, size)] = names.index(thing.label)
    counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
    return {name for name, count in zip(names, counts, strict=True) if count >= MIN_SHARE * numbers.size}


def _compose(camera: Camera, style: Style, rng: Rng, featured: tuple[str, str, str]) -> list[Thing]:
    large, border, wheels = featured
    sides = rng.permutation([-1, 1])
    layers = streets.ground(camera, style, rng) + streets.horizon_line(camera, style, rng)
    for side in sides:
        layers += streets.houses(camera, style, rng, side)
    layers += streets.barrier(camera, style, rng, sides[0], border)
    groups = _roadside(camera, style, rng) + _on_the_road(camera, style, rng, large, wheels)
    upright = [thing for group in sorted(groups, key=lambda group: -group[-1].depth) for thing in group]
    flat = [thing for thing in upright if thing.label == 'rail track']
    return layers + flat + [thing for thing in upright if thing.label != 'rail track'] + [vehicles.bonnet(camera, rng)]


def _roadside(camera: Camera, style: Style, rng: Rng) -> list[list[Thing]]:
    """Trees, poles, bins and people on both sidewalks."""
    kerb, end = style.road, style.road + style.walk
    groups = []
    for side in (-1, 1):
        for _ in range(rng.integers(2, 6)):
            groups.append(streets.tree(camera, style, rng, side * (end + rng.uniform(-0.6, 0.6)), rng.uniform(9, 60)))
        for carries in ('traffic sign', 'traffic light', None):
            place = side * (kerb + rng.uniform(0.3, 0.8)), rng.uniform(7, 32)
            groups.append(kerbside.pole(camera, rng, *place, carries))
        for _ in range(rng.integers(1, 5)):
            groups.append(kerbside.person(camera, rng, side * rng.uniform(kerb + 0.4, end), rng.uniform(6, 28)))
        if rng.random() < 0.5:
            groups.append(kerbside.clutter(camera, rng, side * (end - 0.4), rng.uniform(7, 25)))
    return groups


def _on_the_road(camera: Camera, style: Style, rng: Rng, large: str, wheels: str) -> list[list[Thing]]:
    """One large vehicle, cars driving and parked, one rider, perhaps a parked two-wheeler."""
    groups = []
    vehicle = {'bus': vehicles.bus, 'truck': vehicles.truck, 'train': vehicles.train}[large]
    oncoming = -0.36 * style.road
    groups.append(vehicle(camera, rng, oncoming, rng.uniform(9, 24)))
    for _ in range(rng.integers(1, 3)):
        groups.append(vehicles.car(camera, rng, 0.3 * style.road + rng.normal(0, 0.2), rng.uniform(9, 45)))
    for side in (-1, 1):
        z = rng.uniform(6, 16)
        while z < 50 and rng.random() < 0.75:
            groups.append(vehicles.car(camera, rng, side * (style.road - 0.9), z))
            z += rng.uniform(5.5, 14)
    lane = rng.choice([-1, 1]) * rng.uniform(0.45, 0.8) * style.road
    groups.append(kerbside.two_wheeler(camera, rng, lane, rng.uniform(6, 14), wheels, ridden=True))
    if rng.random() < 0.4:
        place = rng.choice([-1, 1]) * (style.road + rng.uniform(0.4, 1.5)), rng.uniform(7, 18)
        groups.append(kerbside.two_wheeler(camera, rng, *place, rng.choice(['bicycle', 'motorcycle']), ridden=False))
    return groups


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
    with replacing(polygons_path) as partial:
        partial.write_text(json.dumps({'imgHeight': size[1], 'imgWidth': size[0], 'objects': objects}))
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
    """Take a folder for these arguments by a marker, or see that its marker says the same.

    The marker comes first and every file whole, so that what is there is always part of the set it names.
    """
    marker = out / MARKER
    try:
        out.mkdir(parents=True, exist_ok=True)
        if all(path.name.startswith('.') for path in out.iterdir()):
            with replacing(marker) as partial:
                partial.write_text(json.dumps(arguments) + '\n')
    except OSError as error:
        raise UserError(f'cannot write to {out}: {error.strerror}') from None
    try:
        found = json.loads(marker.read_text())
    except (OSError, ValueError):
        raise UserError(f'{out} is not empty and holds no mini-Cityscapes. Choose another folder') from None
    if found != arguments:
        raise UserError(f'{out} was made with {found}, not {arguments}. Choose another folder or delete this one')
