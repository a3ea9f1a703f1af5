"""Virtual sites: a run's folder whose keys do not fit together, and rules that no roster can keep."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.at_rest.key_file import write_key
from client.config import find_sites, load_site
from client.policy.policy import SIMULATED, write_policy
from client.secure.keys import load_roster
from common.errors import ConsiliumError, RunError
from common.plan import Plan, plan_from_dict
from common.secagg.key_pem import key_to_pem
from common.secagg.primitives import SigningKey
from experiments import enrolment
from experiments.enrolment import enrol_virtual
from experiments.simulate import prepare_sites, simulate
from tests.conftest import small_content


def _plan(**aggregation: Any) -> Plan:
    content = small_content()
    content["aggregation"] = {**content.get("aggregation", {}), "secure": True, **aggregation}
    return plan_from_dict(content, source="federation.toml")


def _other_coordinator(out: Path) -> None:
    (out / "coordinator.key").write_bytes(key_to_pem(SigningKey.new(os.urandom)))


def _other_key(out: Path) -> None:
    """The site's own vault opens it, but it is not the key in the roster."""
    key = out / "sites/north/keys/signing.key"
    key.unlink()
    write_key(load_site(out / "sites/north"), key, SigningKey.new(os.urandom))


def _swap_keys(out: Path) -> None:
    one, other = (out / f"sites/{name}/keys/signing.key" for name in ("north", "south"))
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "roster deleted": lambda out: (out / "roster.json").unlink(),
    "roster and coordinator deleted": lambda out: [(out / n).unlink() for n in ("roster.json", "coordinator.key")],
    "roster and a key deleted": lambda out: [
        (out / n).unlink() for n in ("roster.json", "sites/north/keys/signing.key")
    ],
    "coordinator deleted": lambda out: (out / "coordinator.key").unlink(),
    "another coordinator": _other_coordinator,
    "a key deleted": lambda out: (out / "sites/north/keys/signing.key").unlink(),
    "a site's memory deleted": lambda out: (out / "sites/north/keys/approved.json").unlink(),
    "a site's keys deleted": lambda out: shutil.rmtree(out / "sites/north/keys"),
    "another key": _other_key,
    "keys and roster of a site deleted": lambda out: [p.unlink() for p in (out / "sites/north/keys").glob("[rs]*")],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_keys_that_do_not_fit_together_are_one_sentence(damage: str, write_sites: Any, tmp_path: Path) -> None:
    out, plan = tmp_path / "out", _plan()
    sites = prepare_sites(plan, find_sites(write_sites()), out)
    keys = enrol_virtual(plan, sites, out)
    assert enrol_virtual(plan, sites, out).roster == keys.roster
    DAMAGE[damage](out)
    for _ in ("first", "again"):
        with pytest.raises(RunError) as caught:
            enrol_virtual(plan, sites, out)
        assert str(caught.value) == (
            f"{out}: roster.json, coordinator.key and the keys in sites do not fit together; "
            "start again in an empty folder."
        )


def test_keys_that_were_swapped_do_not_open(write_sites: Any, tmp_path: Path) -> None:
    out, plan = tmp_path / "out", _plan()
    sites = prepare_sites(plan, find_sites(write_sites()), out)
    enrol_virtual(plan, sites, out)
    _swap_keys(out)
    with pytest.raises(ConsiliumError, match=r"north/keys/signing\.key: was encrypted with another key"):
        enrol_virtual(plan, sites, out)


@pytest.mark.parametrize(
    "step", ["make_keys", "approve", "approve_roster", "sign_roster", "accept_roster", "write_atomic"]
)
@pytest.mark.parametrize("calls", [0, 1])
def test_after_a_crash_at_any_step_it_goes_on(
    step: str, calls: int, write_sites: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "out", _plan()
    configs = find_sites(write_sites())
    whole, left = getattr(enrolment, step), [calls]

    def stops(*arguments: Any, **options: Any) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return whole(*arguments, **options)

    with monkeypatch.context() as power_cut:
        power_cut.setattr(enrolment, step, stops)
        if (step, calls) == ("write_atomic", 1):
            enrol_virtual(plan, prepare_sites(plan, configs, out), out)  # it writes one file only
        else:
            with pytest.raises(KeyboardInterrupt):
                enrol_virtual(plan, prepare_sites(plan, configs, out), out)
    sites = prepare_sites(plan, configs, out)
    keys = enrol_virtual(plan, sites, out)
    for path in sites.values():
        accepted = load_roster(load_site(path))
        assert accepted is not None and accepted.roster == keys.roster


def test_rules_that_cannot_be_kept_leave_no_folder(write_sites: Any, tmp_path: Path) -> None:
    out, sites = tmp_path / "out", find_sites(write_sites())
    with pytest.raises(ConsiliumError, match=r"aggregation\.absent_members = 2 is too many for 3 sites .*at most 1 is"):
        simulate(_plan(absent_members=2), sites, out)
    assert not out.exists()


def test_a_sites_own_policy_is_asked_before_the_folder_is_made(write_sites: Any, tmp_path: Path) -> None:
    folder = write_sites()
    for name in ("north", "south", "west"):
        (folder / name).mkdir()
        (folder / f"{name}.csv").rename(folder / name / "table.csv")
        (folder / name / "site.toml").write_text(f'[site]\nname = "{name}"\n[data]\nfiles = ["table.csv"]\n')
    write_policy(folder / "south" / "policy.toml", SIMULATED | {"secure": {"colluding_sites": 1}})
    with pytest.raises(RunError, match=r"site\.toml: south would refuse this plan's roster: f = 0, this site asks for"):
        simulate(_plan(), find_sites(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
