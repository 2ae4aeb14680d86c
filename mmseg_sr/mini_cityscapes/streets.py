"""Compose a street in drawing order: sky, ground, houses, walls and fences, trees, and what stands and drives there."""

import numpy as np

from . import kerbside, vehicles
from .painting import outline_mask
from .world import FAR, NEAR, Camera, Rng, Style, Thing, shaded, vary

COMMON = {'road', 'sidewalk', 'building', 'pole', 'traffic light', 'traffic sign', 'vegetation', 'terrain', 'sky'}
COMMON |= {'person', 'rider', 'car'}
MIN_SHARE = 3e-4  # of the frame's pixels that a class must keep in sight, 10 of 256x128
ATTEMPTS = 1000  # 1 to 3 do, 20 in the smallest frames


def draw_scene(camera: Camera, style: Style, rng: Rng, index: int) -> list[Thing]:
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
    """Find the labels that keep enough pixels once everything in front of them is drawn."""
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
    layers = ground(camera, style, rng) + horizon_line(camera, style, rng)
    for side in sides:
        layers += houses(camera, style, rng, side)
    layers += barrier(camera, style, rng, sides[0], border)
    groups = _roadside(camera, style, rng) + _on_the_road(camera, style, rng, large, wheels)
    upright = [thing for group in sorted(groups, key=lambda group: -group[-1].depth) for thing in group]
    upright.sort(key=lambda thing: thing.label != 'rail track')  # which is flat, and under all
    return [*layers, *upright, vehicles.bonnet(camera, rng)]


def _roadside(camera: Camera, style: Style, rng: Rng) -> list[list[Thing]]:
    """Place trees, poles, bins and people on both sidewalks."""
    kerb, end = style.road, style.road + style.walk
    groups = []
    for side in (-1, 1):
        for _ in range(rng.integers(2, 6)):
            groups.append(tree(camera, style, rng, side * (end + rng.uniform(-0.6, 0.6)), rng.uniform(9, 60)))
        for carries in ('traffic sign', 'traffic light', None):
            place = side * (kerb + rng.uniform(0.3, 0.8)), rng.uniform(7, 32)
            groups.append(kerbside.pole(camera, rng, *place, carries))
        for _ in range(rng.integers(1, 5)):
            groups.append(kerbside.person(camera, rng, side * rng.uniform(kerb + 0.4, end), rng.uniform(6, 28)))
        if rng.random() < 0.5:
            groups.append(kerbside.clutter(camera, rng, side * (end - 0.4), rng.uniform(7, 25)))
    return groups


def _on_the_road(camera: Camera, style: Style, rng: Rng, large: str, wheels: str) -> list[list[Thing]]:
    """Place one large vehicle, cars driving and parked, one rider, perhaps a parked two-wheeler."""
    vehicle = {'bus': vehicles.bus, 'truck': vehicles.truck, 'train': vehicles.train}[large]
    groups = [vehicle(camera, rng, -0.36 * style.road, rng.uniform(9, 24))]
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


def ground(camera: Camera, style: Style, rng: Rng) -> list[Thing]:
    """Draw the sky over all, then terrain, road and sidewalks from the camera to the horizon."""
    width, height, level, edge = camera.width, camera.height, round(camera.horizon), style.road
    lower = [(width, height), (0, height)]
    things = [
        Thing('sky', [(0, 0), (width, 0), *lower], vary(rng, style.sky), 'sky', depth=0),
        Thing('terrain', [(0, level), (width, level), *lower], vary(rng, style.grass), 'grass', depth=25),
    ]
    for side in (-1, 1):
        lane = camera.strip(side * edge, side * (edge + style.walk))
        kerb = (camera.strip(side * edge, side * (edge + 0.2)), vary(rng, (165, 163, 158)))
        things.append(Thing('sidewalk', lane, vary(rng, style.paving), 'paving', 12, [kerb]))
    dash = vary(rng, (205, 205, 200))
    starts = np.arange(NEAR + rng.uniform(0, 4), 60, 7)
    marks = [(camera.strip(-0.08, 0.08, z, z + 3.2), dash) for z in starts]
    if rng.random() < 0.6:
        marks.append((camera.strip(edge - 0.5, edge - 0.38), dash))
    patch = camera.strip(*sorted(rng.uniform(-edge, edge, 2)), *sorted(rng.uniform(5, 25, 2)))
    details = [(patch, vary(rng, style.asphalt)), *marks]
    return [*things, Thing('road', camera.strip(-edge, edge), vary(rng, style.asphalt), 'asphalt', 12, details)]


def horizon_line(camera: Camera, style: Style, rng: Rng) -> list[Thing]:
    """Close the street: distant houses or trees across its end."""
    things, left = [], -45.0
    while left < 45:
        wide, high = rng.uniform(5, 14), rng.uniform(5, 17)
        if rng.random() < 0.5:
            outline = [(0, 0), (0, high), (wide * 0.5, high * rng.uniform(1, 1.3)), (wide, high), (wide, 0)]
            label, colour, texture = 'building', vary(rng, style.facades[rng.integers(6)]), 'brick'
        else:
            outline = [(0, 0), *blob(rng, wide / 2, high * 0.5, wide * 0.6, high * 0.5), (wide, 0)]
            label, colour, texture = 'vegetation', vary(rng, style.leaves), 'leaves'
        things.append(Thing(label, camera.upright(left, FAR, outline), colour, texture, FAR))
        left += wide * rng.uniform(0.6, 1.0)
    return things


def houses(camera: Camera, style: Style, rng: Rng, side: int) -> list[Thing]:
    """Draw a row of house fronts along one side, far ones first, with gaps."""
    x = side * (style.road + style.walk + rng.uniform(0.4, 3.5))
    things, near = [], NEAR
    while near < 75:
        far, high = near + rng.uniform(7, 16), rng.uniform(6, 15)
        if rng.random() < 0.8:
            things.extend(house(camera, style, rng, (x, near, far, high)))
        near = far
    return things[::-1]


def house(camera: Camera, style: Style, rng: Rng, box: tuple[float, float, float, float]) -> list[Thing]:
    """Draw a house: its front along the street with rows of windows, and the wall that faces the camera."""
    x, near, far, high = box
    colour = vary(rng, style.facades[rng.integers(6)])
    pane = vary(rng, (60, 68, 80), 18)
    storey, gap = rng.uniform(2.8, 3.5), rng.uniform(2.0, 3.2)
    windows = [
        (camera.facade(x, z, z + gap * 0.5, y, y + storey * 0.55), vary(rng, pane, 8))
        for y in np.arange(1.0, high - 1.5, storey)
        for z in np.arange(near + 0.6, far - gap * 0.5, gap)
    ]
    windows.append((camera.facade(x, near, far, high - 0.5, high), vary(rng, (95, 60, 50))))
    front = Thing('building', camera.facade(x, near, far, 0, high), colour, 'brick', (near + far) / 2, windows)
    deep = x + np.sign(x) * 12
    gable = camera.upright(0, near, [(x, 0), (x, high), (deep, high), (deep, 0)])
    return [Thing('building', gable, shaded(colour, 0.8), 'brick', near), front]


def barrier(camera: Camera, style: Style, rng: Rng, side: int, label: str) -> list[Thing]:
    """Draw a garden wall or a fence between sidewalk and houses."""
    x = side * (style.road + style.walk + 0.05)
    near, far, high = NEAR + rng.uniform(0, 6), rng.uniform(22, 45), rng.uniform(1.3, 2.4)
    outline = camera.facade(x, near, far, 0, high)
    if label == 'wall':
        top = (camera.facade(x, near, far, high - 0.15, high), (150.0, 145.0, 140.0))
        colour = vary(rng, style.facades[rng.integers(6)])
        return [Thing('wall', outline, colour, 'blocks', 14, [top])]
    dark = vary(rng, (70, 72, 70), 20)
    bars = [(camera.facade(x, z, z + 0.12, 0, high), dark) for z in np.arange(near, far, 0.55)]
    rails = [(camera.facade(x, near, far, y, y + 0.1), dark) for y in (0.2, high - 0.12)]
    return [Thing('fence', outline, vary(rng, (128, 135, 120), 15), 'grass', 14, bars + rails)]


def blob(rng: Rng, x: float, y: float, wide: float, high: float, points: int = 18) -> list[tuple[float, float]]:
    """Make a bumpy ellipse around (x, y), from its left end over the top to the left end again."""
    angles = np.linspace(np.pi, -np.pi, points, endpoint=False)
    radii = rng.uniform(0.75, 1.12, points)
    return [(x + wide * r * np.cos(a), y + high * r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]


def tree(camera: Camera, style: Style, rng: Rng, x: float, z: float) -> list[Thing]:
    """Draw a trunk and a crown, both vegetation; now and then a bush."""
    colour = vary(rng, style.leaves)
    if rng.random() < 0.25:
        bush = camera.upright(x, z, blob(rng, 0, 0.55, rng.uniform(0.5, 1.1), 0.6))
        return [Thing('vegetation', bush, colour, 'leaves', z)]
    high, wide = rng.uniform(4.5, 8), rng.uniform(1.2, 2.4)
    trunk = [(-0.16, 0), (-0.1, high * 0.6), (0.1, high * 0.6), (0.16, 0)]
    crown = blob(rng, 0, high * 0.72, wide, high * 0.32)
    return [
        Thing('vegetation', camera.upright(x, z, trunk), vary(rng, (72, 60, 48)), 'plain', z),
        Thing('vegetation', camera.upright(x, z, crown), colour, 'leaves', z),
    ]
