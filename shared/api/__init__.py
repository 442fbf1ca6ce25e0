from shared.api.openai_routes import Settings, create_app, refusal, routes, serve
from shared.api.work import Busy, Queue

__all__ = ["Busy", "Queue", "Settings", "create_app", "refusal", "routes", "serve"]
