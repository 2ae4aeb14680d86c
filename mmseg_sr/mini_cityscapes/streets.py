"""The street itself, in drawing order: sky, ground, the end of the street, houses, walls and fences, trees."""

import numpy as np

from .world import FAR, NEAR, Camera, Rng, Style, Thing, vary


def ground(camera: Camera, style: Style, rng: Rng) -> list[Thing]:
    """Sky over all, then terrain, road and sidewalks from the camera to the horizon."""
    width, height = camera.width, camera.height
    frame = [(0, 0), (width, 0), (width, height), (0, height)]
    level = round(camera.horizon)
    edge = style.road
    things = [
        Thing('sky', frame, vary(rng, style.sky), 'sky', depth=0),
        Thing('terrain', [(0, level), (width, level), *frame[2:]], vary(rng, style.grass), 'grass', depth=25),
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
    patch = (
        camera.strip(*sorted(rng.uniform(-edge, edge, 2)), *sorted(rng.uniform(5, 25, 2))),
        vary(rng, style.asphalt),
    )
    things.append(Thing('road', camera.strip(-edge, edge), vary(rng, style.asphalt), 'asphalt', 12, [patch, *marks]))
    return things


def horizon_line(camera: Camera, style: Style, rng: Rng) -> list[Thing]:
    """Close the street: distant houses or trees across its end."""
    things = []
    left = -45.0
    while left < 45:
        wide, high = rng.uniform(5, 14), rng.uniform(5, 17)
        if rng.random() < 0.5:
            outline = [(0, 0), (0, high), (wide * 0.5, high * rng.uniform(1, 1.3)), (wide, high), (wide, 0)]
            colour = vary(rng, style.facades[rng.integers(6)])
            things.append(Thing('building', camera.upright(left, FAR, outline), colour, 'brick', FAR))
        else:
            crown = blob(rng, wide / 2, high * 0.5, wide * 0.6, high * 0.5)
            outline = [(0, 0), *crown, (wide, 0)]
            things.append(
                Thing('vegetation', camera.upright(left, FAR, outline), vary(rng, style.leaves), 'leaves', FAR)
            )
        left += wide * rng.uniform(0.6, 1.0)
    return things


def houses(camera: Camera, style: Style, rng: Rng, side: int) -> list[Thing]:
    """A row of house fronts along one side, far ones first, with gaps."""
    things = []
    x = side * (style.road + style.walk + rng.uniform(0.4, 3.5))
    near = NEAR
    while near < 75:
        far = near + rng.uniform(7, 16)
        high = rng.uniform(6, 15)
        if rng.random() < 0.8:
            things.extend(house(camera, style, rng, (x, near, far, high)))
        near = far
    return things[::-1]


def house(camera: Camera, style: Style, rng: Rng, box: tuple[float, float, float, float]) -> list[Thing]:
    """One house: its front along the street with rows of windows, and the wall that faces the camera."""
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
    gable = camera.path([(x, 0, near), (x, high, near), (deep, high, near), (deep, 0, near)])
    darker = tuple(0.8 * c for c in colour)
    return [Thing('building', gable, darker, 'brick', near), front]


def barrier(camera: Camera, style: Style, rng: Rng, side: int, label: str) -> list[Thing]:
    """A garden wall or a fence between sidewalk and houses."""
    x = side * (style.road + style.walk + 0.05)
    near, far = NEAR + rng.uniform(0, 6), rng.uniform(22, 45)
    high = rng.uniform(1.3, 2.4)
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
    """Return a bumpy ellipse around (x, y), from its left end over the top to the left end again."""
    angles = np.linspace(np.pi, -np.pi, points, endpoint=False)
    radii = rng.uniform(0.75, 1.12, points)
    return [(x + wide * r * np.cos(a), y + high * r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]


def tree(camera: Camera, style: Style, rng: Rng, x: float, z: float) -> list[Thing]:
    """A trunk and a crown, both vegetation; now and then a bush."""
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
