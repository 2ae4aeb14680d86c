"""Execute docs/tour.ipynb and keep its outputs: in it, and the pictures in docs/tour/ for the page.

    python scripts/execute_tour.py            # or: make notebook, which writes docs/tour.md too
    python scripts/execute_tour.py --out elsewhere.ipynb

The kept outputs may grow old, not wrong: a test executes the cells and compares the kinds of their answers.
"""

import argparse
import base64
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from mmseg_sr.progress import Bar

TOUR = Path(__file__).resolve().parents[1] / 'docs/tour.ipynb'
SECONDS = 900  # for a cell, on a machine that does something else


def execute() -> nbformat.NotebookNode:
    """Run the cells in a new kernel of this Python, without what would differ at every run.

    Raises:
        nbclient.exceptions.CellExecutionError: For a cell that fails.
    """
    notebook = nbformat.read(TOUR, as_version=4)
    with Bar(total=len(notebook.cells), desc='execute', unit='cell') as bar:
        client = NotebookClient(notebook, timeout=SECONDS, kernel_name='python3')
        client.on_cell_start = lambda **_: bar.update()
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)  # times
        if cell.cell_type == 'code':  # what packages print while they are imported
            cell.outputs = [output for output in cell.outputs if output.get('name') != 'stderr']
    return notebook


def pictures(notebook: nbformat.NotebookNode) -> list[bytes]:
    """The PNG files among the outputs, in their order."""
    outputs = [output.get('data', {}) for cell in notebook.cells for output in cell.get('outputs', [])]
    return [base64.b64decode(data['image/png']) for data in outputs if 'image/png' in data]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=TOUR, help='another file than docs/tour.ipynb')
    args = parser.parse_args()
    executed = execute()
    nbformat.write(executed, args.out)
    if args.out == TOUR:
        for number, picture in enumerate(pictures(executed), 1):
            (TOUR.parent / f'tour/{number}.png').write_bytes(picture)
