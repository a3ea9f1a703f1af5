"""HTML that is escaped unless it was built here, so that a site's or task's name cannot become a tag."""

from html import escape

_VOID = {"br", "hr", "wbr"}


class Markup(str):
    """Text that is already HTML. Only `el` and `join` make it; every other string is escaped on its way in."""


def el(tag: str, *children: object, **attributes: object) -> Markup:
    """An element: children that are not `Markup` are escaped, children and attributes that are None left out.

    attributes: `class_` gives class, `data_label` gives data-label.
    """
    pairs = (
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    opening = f"<{tag}{''.join(pairs)}>"
    return Markup(opening if tag in _VOID else f"{opening}{join(*children)}</{tag}>")


def join(*children: object) -> Markup:
    """The children one after the other, escaped as in `el`."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(str(child), quote=False)
            for child in children
            if child is not None
        )
    )
