"""What is a site's own never leaves it: no message holds its scaling or its heads, and heads are sent as zeros."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.benefit.site import open_site
from client.config import load_site
from client.site_rows import TRAIN, SiteRows
from common.model import Layout
from tests.messages import kind
from tests.secure import Federation, Wire, build
from tests.wire import content_of

pytestmark = pytest.mark.usefixtures("closed")
BOTH: dict[str, Any] = {"hidden": [8], "scaling": "site", "local": ["heads", "linear"]}
FEWEST = 3  # values in a row; one alone may be in a message by chance


def _run(folder: Path, model: dict[str, Any], *, secure: bool) -> tuple[Federation, Wire]:
    federation, wire = build(folder, 3, secure=secure, model=model, training={"rounds": 2}), Wire()
    federation.run(wire)
    return federation, wire


def _own(path: Path, federation: Federation) -> dict[str, np.ndarray]:
    """What must be in no message of this site: its moments as they are used, and its heads."""
    config, layout = load_site(path), Layout(federation.plan)
    received, rows = open_site(config).received, SiteRows(config, federation.plan)
    age = rows.table.features[rows.rows(TRAIN), 0].astype(np.float64)
    assert rows.scaling.mean[0] == pytest.approx(age.mean()) and rows.scaling.std[0] == pytest.approx(age.std())
    return {
        "mean": rows.scaling.mean,
        "std": rows.scaling.std,
        "scale": received.normaliser.std,
        "edges": received.normaliser.edges[0],
        "own": received.parameters[layout.local],
    }


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "secure"])
def test_no_message_holds_a_sites_own_scaling_or_heads(secure: bool, tmp_path: Path) -> None:
    federation, wire = _run(tmp_path, BOTH, secure=secure)
    for site, path in federation.sites.items():
        left = b"".join(content_of(reply) for name, _, reply in wire.sent if name == site)
        assert len(left) > 1000
        for what, values in _own(path, federation).items():
            for form in (np.float32, np.float64):
                held = values.astype(form)
                pieces = {held[i : i + FEWEST].tobytes() for i in range(len(held) - FEWEST + 1) if held[i] != 0.0}
                assert pieces and not any(piece in left for piece in pieces), (site, what)


def test_what_is_sent_of_heads_is_zero_and_of_the_encoder_is_not(tmp_path: Path) -> None:
    federation, wire = _run(tmp_path, BOTH, secure=False)
    layout = Layout(federation.plan)
    updates = [content_of(reply) for _, question, reply in wire.sent if kind(question) == "train"]
    assert len(updates) == 2 * len(federation.sites)
    for update in updates:
        moved = np.frombuffer(update, dtype=np.float32)[: layout.parameters]
        assert not moved[layout.local].any() and (moved[~layout.local] != 0).mean() > 0.5


def test_a_site_sends_the_same_survey_and_as_many_values_as_with_pooled_scaling(tmp_path: Path) -> None:
    sent = {}
    for name, model in (("own", BOTH), ("pooled", {"hidden": [8]})):
        _, wire = _run(tmp_path / name, model, secure=False)
        sent[name] = [(site, kind(question), content_of(reply)) for site, question, reply in wire.sent]
    assert [(site, what, len(data)) for site, what, data in sent["own"]] == [
        (site, what, len(data)) for site, what, data in sent["pooled"]
    ]
    for own, pooled in zip(sent["own"], sent["pooled"], strict=True):
        assert (own == pooled) == (own[1] not in ("train", "evaluate"))
