"""Draw what stands flat before the camera: people, two-wheelers and their riders, poles with signs and lights, bins."""

import numpy as np

from .vehicles import PAINTS, RUBBER, shadow
from .world import Camera, Rng, Thing, vary

CLOTHES = ((40, 42, 56), (120, 40, 44), (60, 84, 122), (168, 160, 140), (84, 92, 66), (190, 120, 50))

# Side views, metres (along, up). Each is one closed outline.
BICYCLE = (
    (-0.85, 0.33), (-0.74, 0.6), (-0.5, 0.68), (-0.32, 0.62), (-0.3, 0.9), (-0.42, 0.97), (-0.12, 0.97), (-0.2, 0.85),
    (0.4, 0.85), (0.36, 1.05), (0.55, 1.02), (0.52, 0.68), (0.76, 0.6), (0.85, 0.33), (0.74, 0.08), (0.5, 0.0),
    (0.26, 0.1), (0.16, 0.34), (-0.16, 0.34), (-0.26, 0.1), (-0.5, 0.0), (-0.74, 0.08),
)  # fmt: skip
MOTORCYCLE = (
    (-1.0, 0.3), (-0.9, 0.58), (-0.98, 0.85), (-0.5, 0.9), (-0.1, 0.85), (0.2, 1.08), (0.42, 1.3), (0.55, 1.05),
    (0.68, 0.66), (0.98, 0.55), (1.02, 0.28), (0.9, 0.06), (0.68, 0.0), (0.45, 0.1), (0.36, 0.22), (-0.34, 0.22),
    (-0.44, 0.08), (-0.66, 0.0), (-0.9, 0.06),
)  # fmt: skip
RIDER = (
    (-0.3, 0.9), (-0.26, 1.2), (-0.08, 1.48), (0.0, 1.55), (0.0, 1.72), (0.1, 1.8), (0.22, 1.74), (0.22, 1.58),
    (0.16, 1.46), (0.5, 1.12), (0.46, 1.03), (0.14, 1.26), (0.1, 1.0), (0.22, 0.75), (0.08, 0.32), (-0.04, 0.34),
    (0.04, 0.74), (-0.12, 0.86),
)  # fmt: skip
PERSON = (
    (-0.2, 0.0), (-0.16, 0.85), (-0.26, 0.9), (-0.27, 1.32), (-0.18, 1.48), (-0.06, 1.52), (-0.1, 1.62), (-0.07, 1.74),
    (0.0, 1.78), (0.08, 1.74), (0.1, 1.62), (0.06, 1.52), (0.18, 1.48), (0.27, 1.32), (0.25, 0.9), (0.16, 0.85),
    (0.22, 0.0), (0.1, 0.0), (0.0, 0.7), (-0.08, 0.0),
)  # fmt: skip


def person(camera: Camera, rng: Rng, x: float, z: float) -> list[Thing]:
    """Draw someone on foot."""
    tall, wide = rng.uniform(0.82, 1.08), rng.uniform(0.8, 1.3)
    coat, trousers = (vary(rng, CLOTHES[rng.integers(len(CLOTHES))]) for _ in range(2))
    outline = [(a * wide, up * tall) for a, up in PERSON]
    details = [
        (camera.upright(x, z, [(-1, 0), (-1, 0.86 * tall), (1, 0.86 * tall), (1, 0)]), trousers),
        (camera.upright(x, z, [(-1, 1.53 * tall), (-1, 2), (1, 2), (1, 1.53 * tall)]), vary(rng, (176, 134, 108), 20)),
    ]
    return [shadow(camera, x, z, 0.8, 0.5), Thing('person', camera.upright(x, z, outline), coat, 'cloth', z, details)]


def two_wheeler(camera: Camera, rng: Rng, x: float, z: float, label: str, ridden: bool) -> list[Thing]:
    """Draw a bicycle or motorcycle seen at an angle, parked or ridden."""
    turn = rng.uniform(0.6, 1.0) * rng.choice([-1, 1])
    shape, hubs = (BICYCLE, (-0.5, 0.5)) if label == 'bicycle' else (MOTORCYCLE, (-0.66, 0.68))
    paint = vary(rng, PAINTS[rng.integers(len(PAINTS))])
    rounds = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    details = []
    for hub in hubs:
        for size, colour in ((0.3, RUBBER), (0.3 * 0.7, (104.0, 102.0, 98.0))):
            rim = [((hub + size * np.cos(a)) * turn, 0.33 + size * np.sin(a)) for a in rounds]
            details.append((camera.upright(x, z, rim), colour))
    outline = camera.upright(x, z, [(a * turn, up) for a, up in shape])
    things = [shadow(camera, x, z, 1.6, 0.5), Thing(label, outline, paint, 'metal', z, details)]
    if ridden:
        body = camera.upright(x, z, [(a * turn, up) for a, up in RIDER])
        head = camera.upright(x, z, [(-1, 1.56), (-1, 2), (1, 2), (1, 1.56)])
        helmet = (head, vary(rng, (150, 120, 100), 30))
        things.append(Thing('rider', body, vary(rng, CLOTHES[rng.integers(len(CLOTHES))]), 'cloth', z, [helmet]))
    return things


def pole(camera: Camera, rng: Rng, x: float, z: float, carries: str | None) -> list[Thing]:
    """Draw a mast that carries a traffic sign, a traffic light, or (``None``) a street lamp with its arm."""
    grey = vary(rng, (112, 114, 114), 16)
    high = {'traffic sign': 3.0, 'traffic light': 3.6}.get(carries, 6.5)
    mast = [(-0.09, 0), (-0.09, high), (0.09, high), (0.09, 0)]
    if carries is None:
        reach = -np.sign(x) * 1.6
        mast = [(-0.09, 0), (-0.09, high), (reach, high + 0.25), (reach, high + 0.05), (0.09, high - 0.2), (0.09, 0)]
    things = [Thing('pole', camera.upright(x, z, mast), grey, 'plain', z)]
    if carries == 'traffic sign':
        things.append(_sign(camera, rng, x, z))
    elif carries == 'traffic light':
        case = [(-0.22, 2.6), (-0.22, 3.7), (0.22, 3.7), (0.22, 2.6)]
        lit = rng.integers(3)
        details = []
        for n, (colour, up) in enumerate((((225, 50, 40), 3.32), ((236, 170, 50), 2.98), ((60, 200, 120), 2.65))):
            lamp = camera.upright(x, z, [(-0.14, up), (-0.14, up + 0.28), (0.14, up + 0.28), (0.14, up)])
            details.append((lamp, colour if n == lit else (58, 52, 48)))
        things.append(Thing('traffic light', camera.upright(x, z, case), (34, 38, 36), 'plain', z, details))
    return things


def _sign(camera: Camera, rng: Rng, x: float, z: float) -> Thing:
    corners, colour, inner = (
        (3, (186, 42, 40), (226, 224, 216)),
        (10, (186, 42, 40), (226, 224, 216)),
        (10, (40, 84, 160), (222, 226, 230)),
        (4, (228, 190, 60), (228, 224, 210)),
    )[rng.integers(4)]
    angles = np.pi / 2 + np.linspace(0, 2 * np.pi, corners, endpoint=False)
    rings = [camera.upright(x, z, [(r * np.cos(a), 2.6 + r * np.sin(a)) for a in angles]) for r in (0.48, 0.27)]
    return Thing('traffic sign', rings[0], vary(rng, colour), 'plain', z, [(rings[1], inner)])


def clutter(camera: Camera, rng: Rng, x: float, z: float) -> list[Thing]:
    """Draw a bin or box at the kerb: 'static', void in training."""
    wide, high = rng.uniform(0.3, 0.7), rng.uniform(0.6, 1.3)
    outline = [(-wide, 0), (-wide, high), (wide, high), (wide, 0)]
    return [Thing('static', camera.upright(x, z, outline), vary(rng, (84, 90, 80), 25), 'plain', z)]
