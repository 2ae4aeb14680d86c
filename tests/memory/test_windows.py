"""Windows lie where mmseg's own slide inference takes them, and what they show is put together again."""

from types import SimpleNamespace

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder

from mmseg_sr.memory.windows import spans, stitch

SIDES = st.tuples(st.integers(1, 70), st.integers(1, 70))


@given(size=SIDES, window=SIDES, parts=st.tuples(st.integers(1, 70), st.integers(1, 70)))
@example(size=(47, 100), window=(32, 64), parts=(20, 48))
@example(size=(20, 200), window=(32, 64), parts=(32, 64))
def test_windows_are_those_of_mmsegs_slide_inference_and_stitched_they_are_the_image(size, window, parts):
    stride = tuple(min(part, side) for part, side in zip(parts, window, strict=True))
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
