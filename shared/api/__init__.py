from shared.api.names import KnownNames, served_names
from shared.api.openai_routes import Settings, create_app, refusal, routes, serve
from shared.api.work import AT_ONCE, LINKS, LIVE, MODEL, Busy, Queue, Turn

__all__ = ["AT_ONCE", "LINKS", "LIVE", "MODEL", "Busy", "KnownNames", "Queue", "Settings", "Turn", "create_app",
           "refusal", "routes", "serve", "served_names"]
