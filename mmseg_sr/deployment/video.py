"""Predictions of a video: a label map a frame, taken up where they were stopped, and a coloured video of them all."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..atomic import replacing
from ..errors import UserError
from .outputs import is_whole, overlay, write_image
from .pictures import Report
from .predict import Predictor

VIDEOS = {'.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg'}


def is_video(path: Path) -> bool:
    """Whether a path is a file with the name of a video."""
    return path.suffix.lower() in VIDEOS and path.is_file()


def frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video, RGB (H, W, 3).

    Raises:
        UserError: For a file that is no video.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        there, frame = capture.read()
        if not there:
            raise UserError(f'cannot read the video {path}: it is damaged, or no video')
        while there:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            there, frame = capture.read()
    finally:
        capture.release()


def said_by(path: Path) -> tuple[float, int]:
    """Frames a second and number of frames, as a video says of itself; 25 and 0 where it does not."""
    capture = cv2.VideoCapture(str(path))
    try:
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return (rate if 0 < rate < 1000 else 25.0), max(int(count), 0)
    finally:
        capture.release()


def predict_video(
    predictor: Predictor,
    path: Path,
    out: Path,
    batch: int = 1,
    opacity: float = 0.5,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Report:
    """Write the label map of each frame that does not have one yet, then the coloured video.

    Args:
        predictor: Gives the label maps.
        path: The video.
        out: Folder, see :mod:`.outputs`.
        batch: How many frames go through the network at once.
        opacity: Of the colours.
        progress: Goes round the frames, to show how far it is.

    Returns:
        How many label maps were written, how many were there.

    Raises:
        UserError: For a file that is no video, or frames that the network does not take.
    """
    report, group = Report(), []
    for index, frame in enumerate(progress(frames(path))):
        place = _place(out, path, index)
        if is_whole(place):
            report.skipped += 1
            continue
        group.append((place, frame))
        if len(group) == batch:
            _predict(predictor, group)
            report.written += len(group)
            group = []
    if group:
        _predict(predictor, group)
        report.written += len(group)
    target = out / f'overlays/{path.stem}.mp4'
    if report.written or not target.exists():
        _draw(path, out, target, predictor, opacity)
    return report


def _predict(predictor: Predictor, group: list[tuple[Path, np.ndarray]]) -> None:
    labels = predictor([predictor.prepared(frame) for _, frame in group], [frame.shape[:2] for _, frame in group])
    for (place, _), each in zip(group, labels, strict=True):
        write_image(place, each)


def _draw(path: Path, out: Path, target: Path, predictor: Predictor, opacity: float) -> None:
    """Read the video again, lay the label maps over it and write that."""
    writer = None
    with replacing(target) as partial:
        for index, frame in enumerate(frames(path)):
            if writer is None:
                code = cv2.VideoWriter_fourcc(*'mp4v')
                writer = cv2.VideoWriter(str(partial), code, said_by(path)[0], frame.shape[1::-1])
                if not writer.isOpened():
                    raise UserError(f'OpenCV cannot write the video {target} here')
            with Image.open(_place(out, path, index)) as image:
                labels = np.asarray(image)
            drawn = overlay(frame, labels, predictor.card.palette, opacity)
            writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        writer.release()


def _place(out: Path, path: Path, index: int) -> Path:
    return out / f'labels/{path.stem}/{index:06d}.png'
