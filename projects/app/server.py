"""A page on which a picture is dropped and the memory turned up and down.

The pictures come back as they are asked for; nothing that was uploaded is kept or named. Flask, which answers, is
imported where it is needed: it is an extra.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined
from trial import MAX_SCALE, Trial
from trial_page import parts_of
from uploads import FORMATS, read_upload

from mmseg_sr.errors import UserError

if TYPE_CHECKING:
    from flask import Flask, Response

HERE = Path(__file__).resolve().parent
LOOPBACK = ('127.0.0.1', 'localhost', '::1')
HEADERS = {
    # It loads its own script and style, talks to its own server, and shows pictures that are in the answers.
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
}


def create_app(
    trial: Trial,
    examples: Sequence[bytes],
    max_bytes: int = 20 * 10**6,
    max_side: int = 1024,
    hosts: Sequence[str] | None = LOOPBACK,
) -> 'Flask':
    """Make the WSGI application of the page.

    Args:
        trial: Network, and its baseline, to try pictures on.
        examples: Image files for those who have no picture, at least one.
        max_bytes: Of an upload.
        max_side: Longer pictures are made smaller before they are predicted; pixels.
        hosts: Names that the page may be asked for by: another one is a foreign page that found its way to this
            machine (DNS rebinding). None for any.

    Raises:
        UserError: Where Flask is not installed.
    """
    try:
        from flask import Flask
    except ImportError:
        raise UserError('the page needs Flask and waitress: pip install "mmseg-sr[app]"') from None

    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=max_bytes, TRUSTED_HOSTS=hosts and list(hosts))
    app.jinja_loader = ChoiceLoader([FileSystemLoader(HERE / 'templates'), PackageLoader('mmseg_sr.report')])
    app.jinja_options = dict(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    _show_page(app, trial, examples, max_bytes)
    _take_pictures(app, trial, max_side)
    _say_errors(app, max_bytes)

    @app.after_request
    def guard(response: 'Response') -> 'Response':
        response.headers.update(HEADERS)
        return response

    return app


def _show_page(app: 'Flask', trial: Trial, examples: Sequence[bytes], max_bytes: int) -> None:
    from flask import Response, render_template

    @app.get('/')
    def page() -> str:
        return render_template(
            'app.html.j2', trial=trial, max_bytes=max_bytes, max_scale=MAX_SCALE, formats=FORMATS, examples=examples
        )

    @app.get('/app.css')
    def style() -> Response:
        return Response(source('page.css') + source('app.css'), mimetype='text/css')

    @app.get('/app.js')
    def script() -> Response:
        return Response(source('app.js'), mimetype='text/javascript')

    @app.get('/example/<int:index>')
    def example(index: int) -> Response:
        return Response(examples[index % len(examples)], mimetype='application/octet-stream')

    def source(name: str) -> str:
        return app.jinja_loader.get_source(app.jinja_env, name)[0]


def _take_pictures(app: 'Flask', trial: Trial, max_side: int) -> None:
    from flask import abort, render_template, request

    @app.post('/predict')
    def predict() -> str:
        if request.headers.get('Sec-Fetch-Site', 'same-origin') != 'same-origin':
            abort(403)  # another page, open in the same browser
        scales = trial.scales(request.args.getlist('scale', type=float))
        image, size = read_upload(request.get_data(cache=False), max_side)
        tried = trial(image, scales)
        smaller = None if image.shape[1::-1] == size else size
        return render_template('trial_page.html.j2', tried=tried, smaller=smaller, **parts_of(trial, tried))


def _say_errors(app: 'Flask', max_bytes: int) -> None:
    """One sentence, as plain text, for everything that goes wrong."""
    from flask import Response
    from werkzeug.exceptions import HTTPException

    def say(message: str, status: int) -> Response:
        return Response(message, status, mimetype='text/plain')

    @app.errorhandler(UserError)
    def mistake(error: UserError) -> Response:
        return say(str(error), 400)

    @app.errorhandler(HTTPException)
    def refusal(error: HTTPException) -> Response:
        large = f'The file is too large: at most {max_bytes / 1e6:g} MB.'
        return say(large if error.code == 413 else f'{error.name}.', error.code)

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        app.logger.exception('a picture could not be predicted')
        return say('The network could not predict this picture; the terminal says why.', 500)
