"""Windows lie where mmseg's own slide inference takes them, and what they show is put together again."""

from types import SimpleNamespace

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder

from mmseg_sr.memory.windows import spans, stitch

SIDES = st.tuples(st.integers(1, 70), st.integers(1, 70))


def least(*sides: tuple[int, int]) -> tuple[int, int]:
    return tuple(map(min, *sides))


@settings(deadline=None)
@given(size=SIDES, window=SIDES, parts=SIDES)
@example(size=(47, 100), window=(32, 64), parts=(20, 48))
@example(size=(20, 200), window=(32, 64), parts=(32, 64))
def test_windows_are_those_of_mmsegs_slide_inference_and_stitched_they_are_the_image(size, window, parts):
    stride = least(parts, window)
    positions = torch.arange(float(size[0] * size[1])).view(1, 1, *size)
    taken = []

    def encode_decode(inputs: torch.Tensor, _: list) -> torch.Tensor:
        taken.append(inputs[0, 0])
        return inputs

    test_cfg = ConfigDict(crop_size=window, stride=stride)
    stand_in = SimpleNamespace(test_cfg=test_cfg, out_channels=1, encode_decode=encode_decode)
    EncoderDecoder.slide_inference(stand_in, positions, [{}])
    ours = [positions[0, 0][place] for place in spans(size, window, stride)]
    assert len(ours) == len(taken) and all(map(torch.equal, ours, taken))
    assert torch.equal(stitch(torch.stack(taken), size, window, stride), positions[0, 0])


@settings(deadline=None)
@given(size=SIDES, window=SIDES, parts=SIDES, cells=SIDES)
@example(size=(88, 80), window=(80, 80), parts=(40, 40), cells=(5, 5))
def test_maps_of_few_cells_show_every_cell_of_the_image(size, window, parts, cells):
    stride, cells = least(parts, window), least(cells, window, size)
    maps = torch.ones(len(spans(size, window, stride)), *cells)
    assert (stitch(maps, size, window, stride) == 1).all()
