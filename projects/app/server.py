"""Serve the page: it takes a picture and scales, and answers with predictions. No upload is kept or named."""

from collections.abc import Sequence
from pathlib import Path

from flask import Flask, Response, abort, render_template, request
from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader
from trial import MAX_SCALE, Trial
from trial_page import parts_of
from uploads import FORMATS, read_upload
from werkzeug.exceptions import HTTPException

from mmseg_sr.errors import UserError
from mmseg_sr.report.page import JINJA

TEMPLATES = Path(__file__).resolve().parent / 'templates'
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
) -> Flask:
    """Make the WSGI application of the page.

    Args:
        trial: Network, and its baseline, to try pictures on.
        examples: Image files for those who have no picture, at least one.
        max_bytes: Of an upload.
        max_side: Longer pictures are made smaller before they are predicted; pixels.
        hosts: Names that the page may be asked for by: another one is a foreign page that found its way to this
            machine (DNS rebinding). None for any.
    """
    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=max_bytes, TRUSTED_HOSTS=hosts and list(hosts))
    app.jinja_loader = ChoiceLoader([FileSystemLoader(TEMPLATES), PackageLoader('mmseg_sr.report')])
    app.jinja_options = JINJA
    _show_page(app, examples, trial=trial, max_bytes=max_bytes, max_scale=MAX_SCALE, formats=FORMATS)
    app.add_url_rule('/predict', 'predict', lambda: _predict(trial, max_side), methods=['POST'])
    app.register_error_handler(Exception, lambda error: _in_words(app, error, max_bytes))
    app.after_request(_guard)
    return app


def _show_page(app: Flask, examples: Sequence[bytes], **shown: object) -> None:
    def source(name: str) -> str:
        return app.jinja_loader.get_source(app.jinja_env, name)[0]

    @app.get('/')
    def page() -> str:
        return render_template('app.html.j2', examples=examples, **shown)

    @app.get('/app.css')
    def style() -> Response:
        return Response(source('page.css') + source('app.css'), mimetype='text/css')

    @app.get('/app.js')
    def script() -> Response:
        return Response(source('app.js'), mimetype='text/javascript')

    @app.get('/example/<int:index>')
    def example(index: int) -> Response:
        return Response(examples[index % len(examples)], mimetype='application/octet-stream')


def _predict(trial: Trial, max_side: int) -> str:
    if request.headers.get('Sec-Fetch-Site', 'same-origin') != 'same-origin':
        abort(403)  # another page, open in the same browser
    scales = trial.scales(request.args.getlist('scale', type=float))
    image, size = read_upload(request.get_data(cache=False), max_side)
    tried = trial(image, scales)
    smaller = None if image.shape[1::-1] == size else size
    return render_template('trial_page.html.j2', tried=tried, smaller=smaller, **parts_of(trial, tried))


def _in_words(app: Flask, error: Exception, max_bytes: int) -> Response:
    """Answer with one sentence, as plain text, whatever goes wrong."""
    if isinstance(error, UserError):
        said, status = str(error), 400
    elif isinstance(error, HTTPException):
        large = f'The file is too large: at most {max_bytes / 1e6:g} MB.'
        said, status = large if error.code == 413 else f'{error.name}.', error.code
    else:
        app.logger.error('a picture could not be predicted', exc_info=error)
        said, status = 'The network could not predict this picture; the terminal says why.', 500
    return Response(said, status, mimetype='text/plain')


def _guard(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
