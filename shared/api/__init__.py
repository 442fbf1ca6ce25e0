from shared.api.lanes import LANE_OF_SHORT, lane_for
from shared.api.names import KnownNames, served_names
from shared.api.openai_routes import Settings, create_app, refusal, routes, serve
from shared.api.work import AT_ONCE, LINKS, LIVE, MODEL, SHORT, Busy, Queue, Turn

__all__ = ["AT_ONCE", "LANE_OF_SHORT", "LINKS", "LIVE", "MODEL", "SHORT", "Busy", "KnownNames", "Queue", "Settings",
           "Turn", "create_app", "lane_for", "refusal", "routes", "serve", "served_names"]
