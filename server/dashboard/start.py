"""What a run went on from, in words: the earlier model, and whose heads were taken over."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.scores import mapping


def start_line(result: Mapping[str, Any]) -> str:
    """Of `start`; "" for a run that began anew."""
    start = mapping(result, "start")
    if not start:
        return ""
    kept, new = (", ".join(map(str, start.get(key) or [])) or "none" for key in ("kept", "new"))
    encoder = "its encoder stayed as it was" if start.get("freeze_encoder") else "its encoder was trained further"
    return (
        f"Went on from an earlier model (SHA-256 {start.get('model_sha256')}): {encoder}; "
        f"heads that went on: {kept}; heads that began anew: {new}."
    )
