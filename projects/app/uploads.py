"""Decode pictures that somebody uploads: bytes that may be anything."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmseg_sr.errors import UserError

FORMATS = ('PNG', 'JPEG', 'WEBP')
MAX_PIXELS = 50_000_000  # a large camera's; decoded, 150 MB
TOO_LARGE = f'The picture has more than {MAX_PIXELS // 10**6} million pixels: make it smaller and try again.'


def read_upload(data: bytes, max_side: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode a picture upright, with at most ``max_side`` pixels a side. Its bytes say what it is, its name does not.

    Returns:
        Colours (height, width, 3), and the (width, height) of the upload.

    Raises:
        UserError: For what is no PNG, JPEG or WebP or is damaged, and, before a pixel is decoded, for too many pixels.

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
        raise UserError(TOO_LARGE) from None
    except Exception:  # each decoder has its own
        raise UserError(f'This is no picture that can be read: take a file in {", ".join(FORMATS)}.') from None
    size = picture.size
    if size[0] * size[1] > MAX_PIXELS:
        raise UserError(TOO_LARGE)
    try:
        picture.draft('RGB', (max_side, max_side))  # a JPEG is decoded no larger than it needs to be
        upright = ImageOps.exif_transpose(picture)
        size = size if upright.size == picture.size else size[::-1]
        if upright.mode.startswith('I'):  # 16 bits, which Pillow would clip to 8
            upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
        upright = upright.convert('RGB')
        upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    except Exception:
        raise UserError('The picture is damaged: its file begins well and cannot be read to the end.') from None
    return np.asarray(upright), size
