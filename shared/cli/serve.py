"""`transcribe serve`: OpenAI's audio API for other programs, until it is stopped."""

from __future__ import annotations

import socket

from shared.api import Settings, serve
from shared.checkpoint import configured
from shared.cli.answering import show_loading
from shared.cli.options import ServeRequest
from shared.errors import UserError
from shared.serving import Limits, Serving, unload_minutes
from shared.system.command import DONE, ended_by_signals, tell


def run(request: ServeRequest) -> int:
    """Load the checkpoints, say where the server listens, and answer. Raises UserError."""
    _check_free(request)
    base, tuned = (request.model.name, request.model.name) if request.model.name else configured()
    minutes = unload_minutes()
    limits = Limits(60 * request.max_minutes if request.max_minutes else None, int(request.max_mb * 1e6))
    served = Serving(base, tuned, engine=request.model.engine, device=request.model.device,
                     compute_type=request.model.compute_type, limits=limits, progress=show_loading)
    served.follow(request.dictionary)
    served.unload_when_idle(minutes)
    tell(served.line())
    tell(f"Listening on http://{request.host}:{request.port}/v1")
    with ended_by_signals():
        serve(served, Settings(request.api_key), host=request.host, port=request.port)
    return DONE


def _check_free(request: ServeRequest) -> None:
    """Before minutes are spent on loading. Raises UserError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in request.host else socket.AF_INET
    try:
        with socket.socket(family) as place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.bind((request.host, request.port))
    except OSError as error:
        raise UserError("The server cannot listen there", got=f"{request.host}:{request.port} ({error.strerror})",
                        hint="choose another --port, or end the program that uses this one") from error
