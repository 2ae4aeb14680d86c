"""What goes with an exported network and is all that is needed to use it: a card, written into the file itself."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from ..errors import UserError

PREFIX = 'mmseg_sr.'
IMAGE = 'RGB, uint8 of 0 to 255, (N, 3, height, width); normalisation is inside'


@dataclass
class Card:
    """What an exported network is, and how its images are prepared and its windows laid.

    Attributes:
        classes: Names of the K classes.
        palette: Their colours, RGB.
        size: (height, width) of the images it takes; None for any.
        output: 'logits' (N, K, h, w), float32, or 'labels' (N, h, w), uint8.
        steps: Resizing steps of the config's test pipeline, as in the config.
        mode: 'whole' or 'slide', as in the config's ``test_cfg``.
        window: (height, width) of a window in slide mode.
        stride: From one window to the next, down and to the right.
        scene: Whether its memories cover a scene, for which it takes every image as a whole.
        align_corners: How logits are resized to the size of the picture.
        threshold: Of the probability, where there is one channel only; else None.
        precision: 'float32' or 'float16'.
        blocks: The SR blocks: ``name``, ``form`` ('recall' or 'bias'), ``resized``, ``memory`` (P, C, H, W).
        mean: What is subtracted inside; for people.
        std: What it is divided by inside; for people.
        config: Name of the config; for people.
        checkpoint: Name of the checkpoint's file; for people.
        version: Of mmseg_sr.
        image: What the network takes; for people.
    """

    classes: list[str]
    palette: list[list[int]]
    size: list[int] | None = None
    output: str = 'logits'
    steps: list[dict] = field(default_factory=list)
    mode: str = 'whole'
    window: list[int] | None = None
    stride: list[int] | None = None
    scene: bool = False
    align_corners: bool = False
    threshold: float | None = None
    precision: str = 'float32'
    blocks: list[dict] = field(default_factory=list)
    mean: list[float] | None = None
    std: list[float] | None = None
    config: str = ''
    checkpoint: str = ''
    version: str = ''
    image: str = IMAGE

    def texts(self) -> dict[str, str]:
        """The card as texts, JSON each: ONNX's metadata_props, say.

        Example:
            >>> Card(['road'], [[0, 0, 0]]).texts()['mmseg_sr.classes']
            '["road"]'
        """
        return {f'{PREFIX}{name}': json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], source: object) -> 'Card':
        """Read what :meth:`texts` gave.

        Raises:
            UserError: For texts of something else; names ``source``.
        """
        names = {each.name for each in fields(cls)}
        try:
            values = {
                key.removeprefix(PREFIX): json.loads(text) for key, text in texts.items() if key.startswith(PREFIX)
            }
            card = cls(**{name: value for name, value in values.items() if name in names})
            if len(card.palette) < len(card.classes) or card.output not in ('logits', 'labels'):
                raise ValueError('its classes or its output are none')
            return card
        except (TypeError, ValueError) as error:
            raise UserError(f'{source} was not written by tools/export.py: {error}') from error
