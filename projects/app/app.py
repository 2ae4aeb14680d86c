"""Try a network on your own pictures, in a page on this machine: scale its memory blocks, or switch them off.

    python projects/app/app.py
    python projects/app/app.py CONFIG CHECKPOINT --baseline CONFIG CHECKPOINT

Without arguments it shows a released mini-Cityscapes pair, which knows drawn streets: the page begins with one. The
network with SR blocks has a memory of the scene, and switching it off changes the picture. For
a picture it shows what baseline and network predict, where they differ, and what the memory adds to the feature map;
sliders scale each memory block by 0 (off) to 2.

The page asks nothing of any other machine and, by default, answers none: it listens at 127.0.0.1. With another --host
everybody who reaches this machine can use it, and it has no password. Uploads are PNG, JPEG or WebP of at most
--max-size MB; they are not kept, and their names are not sent. It needs pip install -r projects/app/requirements.txt.
Stop it by Ctrl-C.

The last line of the output, when the page is ready, is a JSON document: its url.
"""

import argparse
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
from _cli import Parser, program, wants_json

if TYPE_CHECKING:
    from trial import Trial

RELEASED = 'fcn_r18-w16-d8{}_1xb4-2k_mini-cityscapes-128x256'  # names of the model index, of config and weights
EXAMPLES = 3


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('source', nargs='*', metavar='CONFIG CHECKPOINT', help='default: the released pair')
    parser.add_argument('--baseline', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='to compare the network with')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at (default: this machine only)')
    parser.add_argument('--port', type=int, default=7860, help='0 for a free one (default: 7860)')
    parser.add_argument('--max-size', type=float, default=20, metavar='MB', help='of an upload (default: 20)')
    parser.add_argument('--max-side', type=int, default=1024, metavar='PX', help='longer pictures are made smaller')
    parser.add_config_options()
    parser.add_trust()
    args = parser.parse_args()
    if len(args.source) not in (0, 2):
        parser.error(f'a config and a checkpoint are shown, or without any the released pair; got {args.source}')
    if not 0 <= args.port < 65536:
        parser.error('--port must be 0 to 65535')
    if not 0 < args.max_size <= 1000 or not 32 <= args.max_side <= 8192:
        parser.error('--max-size must be above 0 and at most 1000 MB, --max-side 32 to 8192 pixels')
    return args


def load_trial(args: argparse.Namespace) -> 'Trial':
    from trial import Trial

    from mmseg_sr.config import load_config, require_segmentor
    from mmseg_sr.options import read_options
    from mmseg_sr.report.gallery import Network

    given = {'SR': args.source or 2 * [RELEASED.format('-sr-scene-rank16')]}
    if args.baseline or not args.source:
        given['baseline'] = args.baseline or 2 * [RELEASED.format('')]
    options = read_options(args.cfg_options)
    cfgs = {name: require_segmentor(load_config(config, options)) for name, (config, _) in given.items()}
    return Trial(*[Network(name, 'baseline', cfgs[name], pair[1]) for name, pair in given.items()])


def draw_examples() -> list[bytes]:
    """Draw streets that the released networks were not trained on, as image files."""
    from mmseg_sr.mini_cityscapes import draw_mini_cityscapes

    with tempfile.TemporaryDirectory() as folder:
        draw_mini_cityscapes(Path(folder), train=1, val=EXAMPLES)
        return [path.read_bytes() for path in sorted((Path(folder) / 'leftImg8bit/val').rglob('*.png'))]


def listen(host: str, port: int) -> socket.socket:
    from mmseg_sr.errors import UserError

    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f'cannot listen at {host}, port {port}: {error.strerror or error}. --port 0 finds one'
        ) from None


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.errors import UserError

    try:
        import flask  # noqa: F401  (server needs it)
        from waitress import create_server
    except ImportError:
        raise UserError('the page needs Flask and waitress: pip install -r projects/app/requirements.txt') from None
    from server import LOOPBACK, create_app

    limit, local = int(args.max_size * 1e6), args.host in LOOPBACK
    app = create_app(load_trial(args), draw_examples(), limit, args.max_side, LOOPBACK if local else None)
    listening = listen(args.host, args.port)
    # It refuses a larger upload by its header, before reading it.
    server = create_server(app, sockets=[listening], max_request_body_size=limit, threads=4)
    host = f'[{args.host}]' if ':' in args.host else args.host
    url = f'http://{host}:{listening.getsockname()[1]}/'
    if not local:
        print(f'Everybody who reaches this machine at {args.host} can use the page.')
    print(f'Open {url} in a browser; Ctrl-C stops it.')
    if wants_json(args):
        print(json.dumps({'url': url}), flush=True)
    server.run()


main = program(parse_args, work)

if __name__ == '__main__':
    main()
