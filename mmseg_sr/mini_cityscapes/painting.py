"""Paint polygons as a photograph: textures, shading, haze, camera blur and noise."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .world import Polygon, Rng, Style, Thing

# Each texture: strength of coarse blotches, of fine grain, and of a darkening from top to bottom.
TEXTURES = {
    'plain': (4, 3, 0.10),
    'asphalt': (7, 7, 0.0),
    'paving': (6, 6, 0.0),
    'grass': (16, 14, 0.0),
    'leaves': (26, 20, 0.30),
    'brick': (6, 6, 0.10),
    'blocks': (9, 8, 0.10),
    'metal': (6, 3, 0.25),
    'cloth': (9, 5, 0.15),
    'sky': (9, 1, -0.15),
}
COURSES = {'brick': 3, 'blocks': 4}  # pixels from one joint to the next


def paint(things: Sequence[Thing], size: tuple[int, int], style: Style, rng: Rng) -> Image.Image:
    """Paint things in drawing order, each inside the outline that its label is drawn from; size is (width, height)."""
    canvas = np.zeros((*size[::-1], 3), dtype=np.float32)
    for thing in things:
        _paint_thing(canvas, thing, style, rng)
    return _photograph(canvas, style, rng)


def outline_mask(polygon: Polygon, size: tuple[int, int]) -> np.ndarray:
    """Fill the pixels (height, width) of a polygon as a bool array, as cityscapesscripts fills it.

    Example:
        >>> outline_mask([(0, 0), (1, 0), (1, 1), (0, 1)], (3, 2)).astype(int).tolist()
        [[1, 1, 0], [1, 1, 0]]
    """
    image = Image.new('L', size, 0)
    ImageDraw.Draw(image).polygon(polygon, fill=1)
    return np.asarray(image, dtype=bool)


def _paint_thing(canvas: np.ndarray, thing: Thing, style: Style, rng: Rng) -> None:
    size = canvas.shape[1::-1]
    mask = outline_mask(thing.polygon, size)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    mask, part = mask[window], canvas[window]
    if thing.texture == 'shade':
        part[mask] *= 0.5
        return
    colour = np.full_like(part, thing.colour)
    left, top = int(columns[0]), int(rows[0])
    for polygon, tone in thing.details:
        moved = [(x - left, y - top) for x, y in polygon]
        colour[outline_mask(moved, part.shape[1::-1])] = tone
    colour += _texture(thing.texture, mask.shape, rng)[..., None]
    fall = TEXTURES[thing.texture][2]
    colour *= np.linspace(1 + fall, 1 - fall, len(mask), dtype=np.float32)[:, None, None]
    faded = np.exp(-style.haze * thing.depth)
    part[mask] = (faded * colour + (1 - faded) * np.asarray(style.sky, dtype=np.float32))[mask]


def _texture(name: str, shape: tuple[int, int], rng: Rng) -> np.ndarray:
    blotches, grain, _ = TEXTURES[name]
    coarse = rng.normal(0, 1, (shape[0] // 6 + 2, shape[1] // 8 + 2)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))
    field = blotches * smooth + grain * rng.normal(0, 1, shape).astype(np.float32)
    if name in COURSES:
        field[:: COURSES[name]] -= 9
    return field


def _photograph(canvas: np.ndarray, style: Style, rng: Rng) -> Image.Image:
    """Expose, blur as a lens does, add the noise of a sensor."""
    exposed = canvas * style.light * np.asarray(style.tint, dtype=np.float32) * np.float32(rng.uniform(0.88, 1.12))
    lit_from = rng.uniform(-0.15, 0.15)  # one side of the street lies in the sun
    exposed *= np.linspace(1 - lit_from, 1 + lit_from, canvas.shape[1], dtype=np.float32)[:, None]
    image = Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.55))
    noisy = np.asarray(image, dtype=np.float32) + rng.normal(0, style.noise, canvas.shape)
    return Image.fromarray(np.clip(np.round(noisy), 0, 255).astype(np.uint8))
