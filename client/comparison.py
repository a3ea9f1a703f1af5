"""A site holds its own columns against the sum of the others'. What it finds stays here, but for one code.

What is unlike stands in words in unlike.json in the site's folder, and in its log. The coordinator is told that there
is something, if the hospital's policy lets it; never which column, and no number.
"""

import json
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from client.config import SiteConfig
from client.data.report import FeatureReport, TaskReport
from client.release import Opinion
from client.session import Session
from client.site_rows import TRAIN, SiteRows
from common.associations import STAGE, Associations
from common.contribution import Contribution, stages
from common.errors import ConsiliumError, Refusal
from common.files import exists, read_bytes, write_atomic
from common.unlike import LEAST_OTHERS, LEAST_OWN, Compared, Finding

UNLIKE = "unlike.json"
CODE = "data_unlike_others"
_MOSTLY = 0.5  # of the values of a column, outside the plausible range


def own_part(site: SiteRows, vector: NDArray[np.float32]) -> NDArray[np.float64]:
    """A site's vector of the survey's third sum, with zeros for columns and pairs that it did not declare.

    vector: the edges. Raises Refusal `malformed_request` for another length, for edges that do not rise within the
    plausible ranges, or for a plan that has no such sum.
    """
    layout = _layout(site)
    if vector.size != layout.edges_size:
        raise Refusal("malformed_request", f"{vector.size} edges instead of {layout.edges_size}.")
    edges = vector.reshape(len(layout.measured), -1)
    if edges.size and (edges.min() < 0.0 or edges.max() > 1.0 or (np.diff(edges, axis=1) < 0.0).any()):
        raise Refusal("malformed_request", "edges that do not rise from 0 to 1.")
    features, labels, hours = _training(site)
    return layout.of(features, labels, edges, hours=hours) * _declared(site)


def findings(site: SiteRows, vector: NDArray[np.float32]) -> tuple[Finding, ...]:
    """What is unlike the others; usually nothing.

    vector: the edges of the third sum, then its total, in which this site has its part. Raises Refusal.
    """
    layout = _layout(site)
    if vector.size != layout.edges_size + layout.size:
        wanted = layout.edges_size + layout.size
        raise Refusal("malformed_request", f"{vector.size} edges and sums to compare with instead of {wanted}.")
    edges, total = np.split(vector, [layout.edges_size])
    others = layout.without(total, own_part(site, edges))
    if not layout.plausible(others) or others[0] < LEAST_OTHERS:
        return _outside(site)  # not the sum of hospitals: it is held against nothing
    compared = Compared(layout, layout.values(*_training(site)), others, edges.reshape(len(layout.measured), -1))
    return (*_outside(site), *compared.findings())


def compare(session: Session, vector: NDArray[np.float32]) -> Opinion:
    """Write down what is unlike the others; what to tell of it. vector: as for `findings`. Raises Refusal."""
    session.require_patients()
    found = findings(session, vector)
    _write(session, found)
    if not session.policy.limits.tell_unlike:
        return Opinion("not_told")
    return Opinion(CODE if found else "alike")


def read_findings(config: SiteConfig, plan_hash: str | None = None) -> tuple[str, ...]:
    """The sentences of the last comparison; none before the first. plan_hash: only of one under this plan.

    Raises ConsiliumError where the file cannot be read.
    """
    path = config.folder / UNLIKE
    if not exists(path):
        return ()
    try:
        content = json.loads(read_bytes(path))
        if plan_hash not in (None, content["plan_hash"]):
            return ()
        return tuple(str(finding["words"]) for finding in content["findings"])
    except (ValueError, TypeError, KeyError):
        raise ConsiliumError(f"{path}: is damaged; the next comparison writes it again.") from None


def _training(site: SiteRows) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Features, labels and hours of the training rows, as `Associations.values` takes them."""
    rows, table = site.rows(TRAIN), site.table
    return table.features[rows], table.labels[rows], table.hours[rows]


def _layout(site: SiteRows) -> Associations:
    if STAGE not in stages(site.plan)["query.survey"]:
        raise Refusal("malformed_request", "in this plan no site compares itself with the others.")
    return Associations(site.plan)


def _declared(site: SiteRows) -> NDArray[np.bool_]:
    """(size,) the entries of columns, and of pairs of columns, that this site declared."""
    contribution = Contribution(site.plan, "query.survey", STAGE)
    levels = list(site.levels.values())
    pairs = [pair for pair in contribution.pairs if all(levels[block] > 0 for block in divmod(pair, len(levels)))]
    return contribution.entries_of([block for block, level in enumerate(levels) if level > 0], pairs)


def _outside(site: SiteRows) -> tuple[Finding, ...]:
    """Columns of which most values lie outside the plan's plausible range: they are not among the rows compared."""
    report, found = site.table.report, []
    columns: list[tuple[FeatureReport | TaskReport, int]] = [
        *((each, round((1.0 - each.missing) * report.rows)) for each in report.features),
        *((each, each.labelled) for each in report.tasks),
    ]
    for each, kept in columns:
        count = each.out_of_range
        if count >= LEAST_OWN and count > _MOSTLY * (kept + count):
            fits = f" and would fit as {each.looks_like}" if each.looks_like else ""
            words = f"{each.name}: {count} of {kept + count} values are outside the plausible range{fits}"
            found.append(Finding(each.name, "range", f"{words}; check its unit."))
    return tuple(found)


def _write(session: Session, found: tuple[Finding, ...]) -> None:
    """The file, and a line in the log for each finding that was not there before; what was there stays."""
    before: tuple[str, ...] = ()
    with suppress(ConsiliumError):  # a damaged file is written again
        before = read_findings(session.config, session.plan.hash)
    known = [vars(finding) for finding in found]
    known += [each for each in _kept(session) if each["words"] not in {finding.words for finding in found}]
    content = {"plan_hash": session.plan.hash, "findings": known}
    write_atomic(session.config.folder / UNLIKE, json.dumps(content, indent=1).encode(), private=True)
    for finding in found:
        if finding.words not in before:
            session.log.warning("unlike the other hospitals: %s", finding.words)


def _kept(session: Session) -> list[dict[str, str]]:
    """What was found before under this plan: another question must not hide it."""
    with suppress(ConsiliumError, OSError, ValueError, TypeError, KeyError):
        content = json.loads(read_bytes(session.config.folder / UNLIKE))
        if content["plan_hash"] == session.plan.hash:
            return [{key: str(each[key]) for key in ("column", "kind", "words")} for each in content["findings"]]
    return []
