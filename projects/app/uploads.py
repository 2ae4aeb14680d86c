"""Pictures that somebody else hands over: bytes that may be anything."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmseg_sr.errors import UserError

FORMATS = ('PNG', 'JPEG', 'WEBP')
MAX_PIXELS = 50_000_000  # a large camera's; decoded, 150 MB


def read_upload(data: bytes, max_side: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode a picture upright, and make it small enough to predict. What it is, its bytes say, not its name.

    Its size is known, and refused, before a pixel is decoded.

    Args:
        data: The file.
        max_side: What the longer side may have, in pixels.

    Returns:
        Colours (height, width, 3), and the (width, height) that the picture came with.

    Raises:
        UserError: For what is no PNG, JPEG or WebP, has too many pixels or is damaged.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new('RGB', (200, 100)).save(file, 'png')
        >>> image, size = read_upload(file.getvalue(), max_side=50)
        >>> image.shape, size
        ((25, 50, 3), (200, 100))
    """
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise UserError(_TOO_LARGE) from None
    except Exception:  # each decoder has its own
        raise UserError(f'This is no picture that can be read: take a file in {", ".join(FORMATS)}.') from None
    size = picture.size
    if size[0] * size[1] > MAX_PIXELS:
        raise UserError(_TOO_LARGE)
    try:
        picture.draft('RGB', (max_side, max_side))  # a JPEG is decoded no larger than it needs to be
        upright = ImageOps.exif_transpose(picture)
        size = size if upright.size == picture.size else size[::-1]
        upright = _as_rgb(upright)
        upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    except Exception:
        raise UserError('The picture is damaged: its file begins well and cannot be read to the end.') from None
    return np.asarray(upright), size


_TOO_LARGE = f'The picture has more than {MAX_PIXELS // 10**6} million pixels: make it smaller and try again.'


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith('I'):  # 16 bits, which Pillow would clip to 8
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert('RGB')
