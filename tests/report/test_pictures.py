"""Label maps are painted by class, in the demo's pictures too, and the diagram is drawn by its command."""

import base64
import importlib.util
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from mmseg_sr.report import html, pictures
from mmseg_sr.report.pictures import BETTER, SAME, VOID, WORSE, changed_pixels, shares

ROAD, SIDEWALK = [128, 64, 128], [244, 35, 232]  # the first two colours of Cityscapes


def test_changed_pixels_of_a_hand_worked_case():
    truth = [[0, 0, 1, 1], [2, 2, 255, 255]]
    theirs = [[0, 1, 0, 1], [0, 1, 2, 0]]
    ours = [[0, 0, 1, 0], [1, 1, 2, 1]]
    found = changed_pixels(truth, ours, theirs)
    assert found.tolist() == [[SAME, BETTER, BETTER, WORSE], [SAME, SAME, VOID, VOID]]
    assert shares(found) == '33.33 % of the labelled pixels better (blue), 16.67 % worse (orange)'
    assert shares(np.full((2, 2), VOID, np.uint8)) == 'no pixel is labelled'
    painted = pictures.paint_changes(found, np.full((2, 4, 3), 100, np.uint8))
    assert (painted[0, 1:3] == pictures.BLUE).all() and (painted[0, 3] == pictures.ORANGE).all()
    assert (painted[1, 2:] == pictures.BLACK).all() and (painted[0, 0] == painted[1, 1]).all()
    with pytest.raises(ValueError, match='different sizes'):
        changed_pixels(truth, ours, [[0]])


labels = arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 255]))


@given(labels, labels, labels)
def test_better_less_worse_is_the_difference_in_right_pixels(truth, ours, theirs):
    found = changed_pixels(truth, ours, theirs)
    right = [sum(t == p != 255 for t, p in zip(truth.flat, side.flat, strict=True)) for side in (ours, theirs)]
    assert np.sum(found == BETTER) - np.sum(found == WORSE) == right[0] - right[1]
    assert ((found == VOID) == (truth == 255)).all()


def test_a_painting_keeps_every_colour():
    image = np.random.default_rng(0).integers(0, 256, (20, 3))[np.random.default_rng(1).integers(0, 20, (50, 900))]
    image = image.astype(np.uint8)
    assert (decode(html.painting(image[:, :640], '')) == image[:, :640]).all()
    shrunk = decode(html.painting(image, 'a "quoted" <text>'))
    assert shrunk.shape[1] == html.WIDEST
    assert {tuple(each) for each in shrunk.reshape(-1, 3)} <= {tuple(each) for each in image.reshape(-1, 3)}


def decode(element: str) -> np.ndarray:
    (data,) = re.findall(r'base64,([^"]+)"', element)
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert('RGB'))


def test_the_demo_s_grid_has_a_row_a_picture_and_shows_what_it_was_given(root):
    spec = importlib.util.spec_from_file_location('demo', root / 'scripts/demo.py')
    spec.loader.exec_module(demo := importlib.util.module_from_spec(spec))
    images = [np.full((4, 8, 3), value, np.uint8) for value in (10, 200)]
    truth, predicted = [np.zeros((4, 8), np.uint8)] * 2, [np.ones((4, 8), np.uint8)] * 2
    void = [np.zeros((4, 8), bool), np.eye(4, 8, dtype=bool)]
    figure = demo.prediction_grid(images, {'ground truth': truth, 'SR': predicted}, void)
    cells = np.array(figure.axes).reshape(2, 3)
    assert [cell.get_title() for cell in cells[0]] == ['picture', 'ground truth', 'SR']
    assert (cells[1, 0].images[0].get_array() == 200).all()
    assert (cells[0, 1].images[0].get_array() == ROAD).all() and (cells[0, 2].images[0].get_array() == SIDEWALK).all()
    shown = np.asarray(cells[1, 2].images[0].get_array())
    assert (shown[void[1]] == 0).all() and (shown[~void[1]] == SIDEWALK).all()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['road', 'sidewalk'], 'what is in it'
    assert [(np.multiply(patch.get_facecolor()[:3], 255)).round().tolist() for patch in legend.get_patches()] == [
        ROAD,
        SIDEWALK,
    ]
    FigureCanvasAgg(figure).draw()


def test_the_diagram_of_the_readme_is_drawn_by_its_command(call, tmp_path):
    assert call('draw_block', tmp_path / 'block.png').status == 0
    assert (tmp_path / 'block.png').read_bytes().startswith(b'\x89PNG')
    for wrong, said in ((tmp_path / 'none' / 'a.png', 'no such folder'), (tmp_path / 'a.xyz', 'cannot draw')):
        assert said in call('draw_block', wrong).mistake
