"""The site's app, as installed."""

from client.app import app

__all__ = ["app"]
