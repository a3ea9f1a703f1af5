"""`Charts`: collects the page's figures, and hands out the places where page.js draws them."""

import json

from server.dashboard.markup import Markup, el
from server.dashboard.plot import Figure


class Charts:
    """The figures of one page, by the id of the element that each is drawn in."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def place(
        self,
        figure: Figure | None,
        *,
        title: str,
        caption: object = None,
        wide: bool = False,
        max_rem: float | None = None,
    ) -> Markup | None:
        """A figure element, or None if there is no figure; a wide one has a heading above it and shows no title."""
        if figure is None:
            return None
        key = f"chart-{len(self._figures) + 1}"
        self._figures[key] = figure
        height = f"height:{figure['layout']['height']}px"
        return el(
            "figure",
            el("h4", title) if not wide else None,
            el("div", id=key, class_="chart", style=height, role="img", aria_label=title),
            el("figcaption", caption) if caption else None,
            class_="wide" if wide else None,
            style=f"max-width:{max_rem:g}rem" if max_rem else None,
        )

    def as_json(self) -> str:
        """All figures as JSON that may stand inside a script element: it holds no `<`."""
        return json.dumps(self._figures, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
