"""The coordinator's app, as installed."""

from server.app import app

__all__ = ["app"]
