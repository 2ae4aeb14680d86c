"""Draw vehicles on four wheels and more, or on rails: boxes in perspective with windows, wheels and lamps."""

from dataclasses import dataclass

import cv2
import numpy as np

from .world import Camera, Colour, Point, Polygon, Rng, Thing, shaded, vary

GLASS: Colour = (48, 58, 70)
RUBBER: Colour = (28, 28, 30)
PAINTS: tuple[Colour, ...] = (
    (180, 182, 185), (70, 72, 78), (28, 30, 36), (140, 32, 34),
    (36, 58, 120), (215, 214, 208), (96, 104, 96), (172, 150, 110),
)  # fmt: skip


def hull(points: list[Point]) -> Polygon:
    """Compute the convex hull of pixels, from the leftmost on.

    Example:
        >>> hull([(0, 0), (2, 0), (1, 1), (2, 2), (0, 2)])
        [(0, 0), (2, 0), (2, 2), (0, 2)]
    """
    outline = [tuple(point) for point in cv2.convexHull(np.array(points, np.int32), clockwise=False)[:, 0].tolist()]
    start = outline.index(min(outline))
    return outline[start:] + outline[:start]


@dataclass(frozen=True)
class Box:
    """A box along the street in metres: ``x`` its middle, ``z`` its near end."""

    camera: Camera
    x: float
    z: float
    wide: float
    long: float
    low: float
    high: float

    def corners(self) -> list[Point]:
        """Project the eight corners."""
        xs, zs = (self.x - self.wide / 2, self.x + self.wide / 2), (self.z, self.z + self.long)
        return [self.camera.project(x, y, z) for x in xs for y in (self.low, self.high) for z in zs]

    def back(self, left: float, right: float, low: float, high: float) -> Polygon:
        """Project a rectangle on the end that faces the camera; arguments are shares of its width and height."""
        xs = [self.x + self.wide * (share - 0.5) for share in (left, right)]
        ys = [self.low + (self.high - self.low) * share for share in (low, high)]
        return [self.camera.project(x, y, self.z) for x, y in zip((*xs, *xs[::-1]), np.repeat(ys, 2), strict=True)]

    def side(self, near: float, far: float, low: float, high: float) -> Polygon:
        """Project a rectangle on the side that the camera sees; arguments are shares of its length and height."""
        x = self.x - np.sign(self.x - self.camera.aside) * self.wide / 2
        zs = [self.z + self.long * share for share in (near, far)]
        ys = [self.low + (self.high - self.low) * share for share in (low, high)]
        return [self.camera.project(x, y, z) for z, y in zip((*zs, *zs[::-1]), np.repeat(ys, 2), strict=True)]


def shadow(camera: Camera, x: float, z: float, wide: float, long: float) -> Thing:
    """Darken the ground under something; no object of its own."""
    return Thing(None, camera.strip(x - wide / 2, x + wide / 2, z, z + long), (38, 38, 42), 'shade', z)


def _wheels(box: Box, shares: tuple[float, ...]) -> list[tuple[Polygon, Colour]]:
    flat = [(box.side(s - 0.07, s + 0.07, 0, 0.28), RUBBER) for s in shares]
    return flat + [(box.back(left, left + 0.14, 0, 0.16), RUBBER) for left in (0.04, 0.82)]


def _lamps(rng: Rng, box: Box, low: float) -> list[tuple[Polygon, Colour]]:
    colour = (190.0, 30.0, 30.0) if rng.random() < 0.6 else (240.0, 236.0, 210.0)
    return [(box.back(left, left + 0.16, low, low + 0.14), colour) for left in (0.04, 0.8)]


def car(camera: Camera, rng: Rng, x: float, z: float) -> list[Thing]:
    """Draw a car from behind or ahead, with its number plate, a label that no label image shows."""
    paint = vary(rng, PAINTS[rng.integers(len(PAINTS))])
    body = Box(camera, x, z, 1.8, rng.uniform(3.8, 4.6), 0.12, 0.95)
    cabin = Box(camera, x, z + 0.5, 1.45, 2.6, 0.95, rng.uniform(1.4, 1.7))
    darker = shaded(paint, 0.75)
    details = [(body.side(0, 1, 0, 1), darker), (cabin.side(0, 1, 0, 1), darker), (cabin.side(0.1, 0.9, 0, 0.8), GLASS)]
    details += [(body.back(0, 1, 0, 1), paint), (cabin.back(0.06, 0.94, 0.05, 0.85), GLASS)]
    details += [(body.back(0, 1, 0, 0.2), shaded(paint, 0.5))] + _lamps(rng, body, 0.55) + _wheels(body, (0.18, 0.8))
    outline = hull(body.corners() + cabin.corners())
    plate = Thing('license plate', body.back(0.36, 0.64, 0.3, 0.44), (225, 225, 220), depth=z)
    return [shadow(camera, x, z, 2.0, 4.2), Thing('car', outline, paint, 'metal', z, details), plate]


def bus(camera: Camera, rng: Rng, x: float, z: float) -> list[Thing]:
    """Draw a city bus: a long box with a band of windows and a lit destination sign."""
    paint = vary(rng, ((196, 168, 60), (170, 44, 40), (206, 206, 200))[rng.integers(3)])
    box = Box(camera, x, z, 2.5, rng.uniform(9, 12), 0.15, 3.1)
    details = [(box.side(0, 1, 0, 1), shaded(paint, 0.8))]
    details += [(box.side(s, s + 0.1, 0.42, 0.84), GLASS) for s in np.arange(0.03, 0.9, 0.12)]
    details += [(box.back(0, 1, 0, 1), paint), (box.back(0.06, 0.94, 0.4, 0.82), GLASS)]
    details += [(box.back(0.2, 0.8, 0.86, 0.96), (235, 170, 60))] + _lamps(rng, box, 0.14) + _wheels(box, (0.2, 0.78))
    return [shadow(camera, x, z, 2.7, 9), Thing('bus', hull(box.corners()), paint, 'metal', z, details)]


def truck(camera: Camera, rng: Rng, x: float, z: float) -> list[Thing]:
    """Draw a truck from behind: a bare cargo box on a dark frame, its cab ahead of it."""
    paint = vary(rng, ((188, 190, 190), (70, 96, 130), (112, 120, 84), (150, 96, 60))[rng.integers(4)])
    cargo = Box(camera, x, z, 2.5, rng.uniform(5, 8), 0.9, rng.uniform(3.0, 3.7))
    frame = Box(camera, x, z + 0.2, 2.2, cargo.long + 1.6, 0.1, 0.9)
    cab = Box(camera, x, z + cargo.long + 0.3, 2.3, 1.8, 0.4, 2.7)
    details = [(cab.side(0, 1, 0, 1), vary(rng, PAINTS[rng.integers(len(PAINTS))]))]
    details += [(cab.side(0.3, 0.9, 0.5, 0.9), GLASS)]
    details += [(frame.side(0, 1, 0, 1), (40, 40, 44)), (frame.back(0, 1, 0, 1), (46, 46, 50))]
    details += [(cargo.side(0, 1, 0, 1), shaded(paint, 0.78)), (cargo.back(0, 1, 0, 1), paint)]
    details += [(cargo.back(0.48, 0.52, 0.02, 0.98), (60, 60, 60)), (cargo.back(0, 1, 0, 0.05), (170, 40, 36))]
    details += _lamps(rng, frame, 0.4) + _wheels(frame, (0.2, 0.35, 0.86))
    outline = hull(cargo.corners() + frame.corners() + cab.corners())
    return [shadow(camera, x, z, 2.7, 8), Thing('truck', outline, paint, 'metal', z, details)]


def train(camera: Camera, rng: Rng, x: float, z: float) -> list[Thing]:
    """Draw a tram on its track (the track is void in training): longer than a bus, two-coloured, with a slim front."""
    stripe = vary(rng, ((150, 36, 44), (48, 110, 84), (52, 78, 140))[rng.integers(3)])
    pale = vary(rng, (208, 204, 190))
    rails = [(camera.strip(x + s - 0.06, x + s + 0.06), (150.0, 146.0, 142.0)) for s in (-0.72, 0.72)]
    track = Thing('rail track', camera.strip(x - 1.2, x + 1.2), (104, 98, 92), 'asphalt', 12, rails)
    box = Box(camera, x, z, 2.4, 26, 0.1, 3.4)
    details = [(box.side(0, 1, 0, 1), pale), (box.side(0, 1, 0, 0.38), stripe)]
    details += [(box.side(s, s + 0.045, 0.46, 0.82), GLASS) for s in np.arange(0.02, 0.95, 0.06)]
    details += [(box.back(0, 1, 0, 1), pale), (box.back(0, 1, 0, 0.36), stripe)]
    details += [(box.back(0.14, 0.86, 0.4, 0.84), GLASS)]
    details += [(box.back(0.42, 0.58, 0.16, 0.26), (244, 240, 214)), (box.back(0, 1, 0, 0.06), RUBBER)]
    return [track, shadow(camera, x, z, 2.5, 20), Thing('train', hull(box.corners()), pale, 'metal', z, details)]


def bonnet(camera: Camera, rng: Rng) -> Thing:
    """Draw the front of the car that carries the camera: 'ego vehicle', void in training."""
    width, height = camera.width, camera.height
    top = height - max(2, round(height * rng.uniform(0.05, 0.1)))
    rise = [(round(width * a), round(top + (height - top) * (2 * a - 1) ** 4)) for a in np.linspace(0.06, 0.94, 12)]
    return Thing('ego vehicle', [(0, height), *rise, (width, height)], (46, 48, 54), 'metal', 3)
