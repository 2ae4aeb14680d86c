"""Pictures for people: label maps are painted by class, the diagram is drawn by its command."""

import subprocess
import sys

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mmseg_sr.report.pictures import colour, prediction_grid

PALETTE = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_every_class_has_its_colour_and_void_is_black():
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    assert colour(labels, PALETTE).tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 0, 0]]]


def test_a_grid_has_a_row_a_picture_and_shows_what_it_was_given():
    pictures = [np.full((4, 8, 3), value, np.uint8) for value in (10, 200)]
    truth, predicted = [np.zeros((4, 8), np.uint8)] * 2, [np.ones((4, 8), np.uint8)] * 2
    void = [np.zeros((4, 8), bool), np.eye(4, 8, dtype=bool)]
    figure = prediction_grid(pictures, {'ground truth': truth, 'SR': predicted}, PALETTE, void=void)
    cells = np.array(figure.axes).reshape(2, 3)
    assert [cell.get_title() for cell in cells[0]] == ['picture', 'ground truth', 'SR']
    assert (cells[1, 0].images[0].get_array() == 200).all()
    assert (cells[0, 2].images[0].get_array() == [0, 255, 0]).all()
    shown = np.asarray(cells[1, 2].images[0].get_array())
    assert (shown[void[1]] == 0).all() and (shown[~void[1]] == [0, 255, 0]).all()
    FigureCanvasAgg(figure).draw()


def test_the_diagram_of_the_readme_is_drawn_by_its_command(root, tmp_path):
    command = [sys.executable, root / 'scripts/draw_block.py']
    done = subprocess.run([*command, tmp_path / 'block.png'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'block.png').read_bytes().startswith(b'\x89PNG')
    for wrong, said in ((tmp_path / 'none' / 'a.png', 'no such folder'), (tmp_path / 'a.xyz', 'cannot draw')):
        done = subprocess.run([*command, wrong], capture_output=True, text=True)
        assert done.returncode == 2 and said in done.stderr and 'Traceback' not in done.stderr
