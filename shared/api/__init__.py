from shared.api.openai_routes import Settings, create_app, routes, serve

__all__ = ["Settings", "create_app", "routes", "serve"]
