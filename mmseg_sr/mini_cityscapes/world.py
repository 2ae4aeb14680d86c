"""Define what a drawn street is made of: a camera, things with outlines in pixels, and the style of a city.

World coordinates are metres: x to the right, y up from the ground, z ahead of the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

Point = tuple[int, int]
Polygon = list[Point]
Colour = tuple[float, float, float]
Rng = np.random.Generator
Style = SimpleNamespace  # see city_style()

NEAR = 3.2  # metres; below the lower edge of the image
FAR = 90.0


@dataclass
class Thing:
    """One object of the scene, drawn over everything before it."""

    label: str | None  # Cityscapes label name; None for what has none, such as a shadow
    polygon: Polygon
    colour: Colour  # red, green, blue, 0 to 255
    texture: str = 'plain'  # a name that painting.TEXTURES has
    depth: float = 10.0  # metres to the camera; what is far fades into the haze
    details: list[tuple[Polygon, Colour]] = field(default_factory=list)  # inside the outline: windows, wheels, lamps


@dataclass(frozen=True)
class Camera:
    """A pinhole camera 1.6 m above a street that bends sideways by ``bend`` metres a square metre ahead."""

    width: int
    height: int
    horizon: float
    bend: float
    aside: float

    def project(self, x: float, y: float, z: float) -> Point:
        """Compute the pixel at which a point of the world is seen."""
        focal = 0.55 * self.width + 0.7 * self.height  # of both, so that tall and wide images show a street as well
        column = self.width / 2 + focal * ((x - self.aside) / z + self.bend * z)
        return round(column), round(self.horizon + focal * (1.6 - y) / z)

    def upright(self, x: float, z: float, outline: Sequence[tuple[float, float]]) -> Polygon:
        """Project a flat figure that faces the camera and stands at (x, 0, z); outline in metres (aside, up)."""
        return [self.project(x + a, up, z) for a, up in outline]

    def strip(self, left: float, right: float, near: float = NEAR, far: float = FAR) -> Polygon:
        """Project a lane of the ground along the street."""
        steps = np.geomspace(near, far, 9)
        return [self.project(left, 0, z) for z in steps] + [self.project(right, 0, z) for z in steps[::-1]]

    def facade(self, x: float, near: float, far: float, low: float, high: float) -> Polygon:
        """Project a vertical plane along the street."""
        steps = np.geomspace(near, far, 5)
        return [self.project(x, low, z) for z in steps] + [self.project(x, high, z) for z in steps[::-1]]


def city_style(rng: Rng) -> Style:
    """Choose what the streets of one city have in common; colours are 0 to 255, widths metres."""
    grey = rng.uniform(70, 115)
    facades = [tuple(np.clip(rng.uniform(80, 190) + rng.normal(0, 9, 3) + (14, 2, -12), 30, 240)) for _ in range(6)]
    overcast = rng.random() < 0.5
    return Style(
        asphalt=tuple(grey + rng.normal(0, 4, 3)),
        paving=tuple(grey + rng.uniform(8, 45) + rng.normal(0, 7, 3)),
        facades=facades,
        leaves=(rng.uniform(35, 85), rng.uniform(65, 105), rng.uniform(25, 55)),
        grass=(rng.uniform(80, 125), rng.uniform(95, 130), rng.uniform(45, 80)),
        sky=tuple(rng.uniform(190, 225) + rng.normal(0, 5, 3)) if overcast else (120.0, 160.0, rng.uniform(190, 230)),
        haze=rng.uniform(0.003, 0.012),
        light=rng.uniform(0.75, 1.25),
        tint=tuple(1 + rng.normal(0, 0.035, 3)),
        noise=rng.uniform(3, 8),
        road=rng.uniform(3.6, 5.2),
        walk=rng.uniform(2.2, 3.6),
    )


def shaded(colour: Colour, factor: float) -> Colour:
    """Make a colour darker."""
    return tuple(factor * c for c in colour)


def vary(rng: Rng, colour: Colour, spread: float = 12) -> Colour:
    """Make a colour near ``colour``, lighter or darker more than of another hue."""
    return tuple(np.clip(np.asarray(colour) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 5, 250))
