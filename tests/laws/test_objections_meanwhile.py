"""The list of patients who object holds as it was when the tables were read; another one waits for a start."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from client import site_rows
from client.config import SiteConfig
from client.data import apart
from client.data.site_table import SiteTable
from client.sessions import close_sessions
from common.plan import Plan
from tests.conftest import small_plan, small_table
from tests.laws.one_site import PROTOCOL, VALUES, OneSite, per_patient


def _object(one: OneSite, named: Path, *patients: str) -> None:
    """These patients object, in a file of their hospital."""
    named.write_text("\n".join(patients))
    _set_list(one, str(named))


def _object_inline(one: OneSite, *patients: str) -> None:
    _set_list(one, list(patients))


def _set_list(one: OneSite, objections: str | list[str]) -> None:
    path = one.folder / "site.toml"
    content = tomllib.loads(path.read_text())
    content["data"]["exclude_patients"] = objections
    path.write_text(tomli_w.dumps(content))


@pytest.fixture(params=[False, True], ids=["read here", "read apart"])
def _reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are read in this process, and, as in a runner, in another one."""
    monkeypatch.setattr(apart, "_apart", request.param)


@pytest.mark.usefixtures("_reading")
@pytest.mark.parametrize("change", ["one more", "removed", "the same size and time"])
def test_patients_who_object_during_a_run_stop_it_until_the_site_is_started_again(
    change: str, site: Any, touched: list[str], tmp_path: Path
) -> None:
    plan, named = per_patient(), tmp_path / "objections.txt"
    first, second = sorted(set(small_table(0)[plan.data.patient].astype(str)))[:2]
    one = site(plan)
    _object(one, named, first)
    assert one.ask(plan, "train").has_content()
    before, fingerprint = named.stat(), one.records("entry")[0]["dataset"]
    touched.clear()
    if change == "removed":
        named.unlink()
    else:
        named.write_text(f"{first}\n{second}" if change == "one more" else second)
        os.utime(named, ns=(before.st_atime_ns, before.st_mtime_ns))
    for kind in (*VALUES, *PROTOCOL):
        one.assert_refused(one.ask(plan, kind, 2), "policy_changed")
    assert touched == []
    named.write_text(f"{first}\n{second}")
    close_sessions()
    assert one.ask(plan, "train", 2).has_content()
    assert one.records("entry")[-1]["dataset"] != fingerprint


def test_a_list_in_the_settings_waits_for_a_start_as_a_file_does(site: Any, touched: list[str]) -> None:
    plan = per_patient()
    first, second = sorted(set(small_table(0)[plan.data.patient].astype(str)))[:2]
    one = site(plan)
    _object_inline(one, first)
    assert one.ask(plan, "train").has_content()
    touched.clear()
    for listed in ((first, second), ()):
        _object_inline(one, *listed)
        one.assert_refused(one.ask(plan, "train", 2), "policy_changed")
    assert touched == []


def test_a_list_that_was_half_written_when_the_tables_were_read_again_stops_the_site(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole before and after: only the reading itself can tell."""
    plan, named = per_patient(), tmp_path / "objections.txt"
    one = site(plan)
    _object(one, named, *sorted(set(small_table(0)[plan.data.patient].astype(str)))[:3])
    assert one.ask(plan, "train").has_content()
    settings = one.folder / "site.toml"
    settings.write_text(settings.read_text().replace("[data]", '[data]\nencoding = "latin-1"'))
    whole, honest = named.read_bytes(), site_rows.load_table

    def while_it_is_written(config: SiteConfig, plan: Plan) -> SiteTable:
        named.write_bytes(b"")
        table = honest(config, plan)
        named.write_bytes(whole)
        return table

    monkeypatch.setattr(site_rows, "load_table", while_it_is_written)
    for round_number in (2, 3):
        one.assert_refused(one.ask(plan, "train", round_number), "policy_changed")


@pytest.mark.usefixtures("_reading")
def test_a_site_whose_list_stays_as_it_is_goes_on(site: Any, tmp_path: Path) -> None:
    plan, named = small_plan(), tmp_path / "objections.txt"
    one = site(plan)
    _object(one, named, "nobody")
    assert one.ask(plan, "train").has_content()
    named.write_text(named.read_text())
    assert one.ask(plan, "train", 2).has_content()


@pytest.mark.parametrize("kind", ["query.survey", "train", "evaluate"])
def test_the_difference_of_two_answers_is_nobody(kind: str, site: Any, touched: list[str], tmp_path: Path) -> None:
    """A question before and after an objection would differ by that patient's own rows, in whichever step it is put."""
    plan, named = small_plan(), tmp_path / "objections.txt"
    one = site(plan)
    _object(one, named, "nobody")
    assert one.ask(plan, kind).has_content() and one.ask(plan, kind).has_content()
    for patient in sorted(set(small_table(0)[plan.data.patient].astype(str)))[:3]:
        named.write_text(patient)
        close_sessions()
        touched.clear()
        for shift in (0.0, 1e-3):  # hardly another question
            for again, number in (("query.survey", 0), ("train", 1), ("train", 2), ("evaluate", 0)):
                one.assert_refused(one.ask(plan, again, number, shift=shift), "rows_changed")
        assert not {"train", "_scores", "of"} & set(touched)
    named.write_text("nobody")
    close_sessions()
    assert one.ask(plan, kind).has_content()


def test_with_noise_the_difference_is_paid_for(site: Any, tmp_path: Path) -> None:
    plan, named = per_patient(), tmp_path / "objections.txt"
    one = site(plan)
    _object(one, named, "nobody")
    assert one.ask(plan, "evaluate").has_content()
    named.write_text(sorted(set(small_table(0)[plan.data.patient].astype(str)))[0])
    close_sessions()
    assert one.ask(plan, "evaluate").has_content()
    assert len(one.records("entry")) == 2
