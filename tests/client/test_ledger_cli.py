"""`consilium site ledger` and `consilium site receipts`: only read, also beside a running client, and never flatter."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from client.ledger import cli as ledger_cli
from client.ledger.account import Account, accounts, course, postings
from client.ledger.ledger import LEDGER, Ledger
from client.ledger.page import ledger_page
from client.ledger.receipts import receipt_to_json
from client.ledger.receipts_page import receipts_html
from client.ledger.text import bound, receipt_words
from client.ledger.verify import verify_ledger
from client.policy.policy import SIMULATED, write_policy
from client.secure.keys import load_signing_key, make_keys
from common.errors import ConsiliumError
from common.privacy.accounting import affordable, epsilon
from common.privacy.events import Gaussian, Spent, Unnoised
from common.secagg.json_view import to_json
from common.secagg.roster import enrol
from tests.client.conftest import make_site, site
from tests.client.ledgers import OPEN, OTHER_KEY, entry, receipt

app = typer.Typer()
app.command("ledger")(ledger_cli.ledger)
app.add_typer(ledger_cli.receipts_app, name="receipts")
Command = Callable[..., Result]
NOISED = Spent(Gaussian(16.0, 1.0), "split", "train")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in a folder with the site `north`, its key and a policy with budgets of 4 and 8."""
    monkeypatch.chdir(tmp_path)
    make_site("north")
    write_policy(
        Path("north/policy.toml"),
        SIMULATED | {"budget": {"epsilon_per_study": 4.0, "epsilon_per_year": 8.0, "allow_unnoised": ["levels"]}},
    )
    make_keys(site("north"), os.urandom)

    def run(*arguments: str, typed: str = "") -> Result:
        done = CliRunner().invoke(app, list(arguments), input=typed)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


def _open() -> Ledger:
    return Ledger(Path("north") / LEDGER, load_signing_key(site("north")))


def _work(ledger: Ledger, *, rounds: int = 5, unnoised: tuple[str, ...] = ("levels",)) -> None:
    for kind in unnoised:
        ledger.write_receipt(receipt(0, paid=ledger.spend(entry(0, spent=Spent(Unnoised(kind), "split", "train")))))
    for number in range(1, rounds + 1):
        paid = ledger.spend(entry(number, spent=NOISED))
        ledger.write_receipt(receipt(number, paid=paid, norm_before_clip=2.5, norm_after_clip=1.0))
    ledger.write_refusal(receipt(rounds + 1, code="budget_exceeded"))


def test_spending_is_that_of_the_accountant(command: Command) -> None:
    with _open() as ledger:
        _work(ledger)
        told = json.loads(command("ledger", "north", "--json").stdout)  # beside the running client
        ((study,), (year,)) = told["studies"], told["years"]
        spent = ledger.spent()
    assert study["name"] == "heart" and re.fullmatch("20[0-9]{2}", year["name"])
    assert study["epsilon"] == year["epsilon"] == epsilon(spent, delta=1e-5) > 0.0
    assert study["left"] == affordable(spent, NOISED, epsilon=4.0, delta=1e-5, most=10_000) < year["left"]
    assert study["unnoised"] == {"levels": 1} and study["overall"] and told["whole"]
    said = command("ledger", "north").stdout
    assert f"epsilon {study['epsilon']:.3g} of 4" in said and f"{study['left']:,} more releases like the last" in said


@pytest.mark.parametrize("kind", ["survey", "update", "evaluation"])
def test_anything_without_noise_but_levels_leaves_no_overall_epsilon(kind: str, command: Command) -> None:
    with _open() as ledger:
        _work(ledger, unnoised=("levels", kind, kind))
    told = json.loads(command("ledger", "north", "--json").stdout)
    assert not told["studies"][0]["overall"] and told["studies"][0]["unnoised"] == {"levels": 1, kind: 2}
    said = command("ledger", "north").stdout
    counted = ", ".join(sorted(("1 × levels", f"2 × {kind}"), key=lambda words: words[4:]))
    assert f"no overall epsilon: {kind} left without noise" in said and f"without noise  {counted}" in said


def test_reading_changes_no_byte(command: Command) -> None:
    with _open() as ledger:
        _work(ledger)
    before = {path: path.read_bytes() for path in Path("north").rglob("*") if path.is_file()}
    for arguments in (("ledger", "north"), ("receipts", "show", "north"), ("receipts", "verify", "north")):
        command(*arguments)
    assert {path: path.read_bytes() for path in Path("north").rglob("*") if path.is_file()} == before


def test_the_page_holds_everything_and_loads_nothing(command: Command) -> None:
    with _open() as ledger:
        ledger.spend(entry(1, spent=NOISED, study="<script>alert(1)</script>"))
        _work(ledger)
    command("ledger", "north", "--html", "ledger.html")
    page = Path("ledger.html").read_text()
    body = page[: page.index("<script>")]  # before plotly's own text
    assert "alert(1)" in body and "<script>alert" not in page
    assert "default-src 'none'; script-src 'sha256-" in page
    assert not re.findall(r"(?:src|href)=", body)
    figure = json.loads(re.search(r'id="figure">(.*?)</script>', page).group(1))
    assert [len(line["y"]) for line in figure["data"]] == [1, 5]
    with pytest.raises(ConsiliumError, match="keys only"):
        command("ledger", "north", "--html", "north/keys/ledger.html")
    with pytest.raises(ConsiliumError, match="is not a page"):
        command("ledger", "north", "--html", "north/site.toml")


@pytest.mark.parametrize(
    ("limit", "drawn", "said"), [(4.0, 1, "limit 4"), (1e6, 0, "limit 1,000,000: above this chart")]
)
def test_a_limit_far_above_the_course_is_named_and_not_drawn(limit: float, drawn: int, said: str) -> None:
    """Else all that was spent would be one line at zero."""
    account = Account("heart", 2.0, limit, {"update": 2}, 3, None)
    page = ledger_page("north", [account], [], {"heart": [("2026-01-02T03:04:05", 2.0)]}, delta=1e-5, state="")
    layout = json.loads(re.search(r'id="figure">(.*?)</script>', page).group(1))["layout"]
    assert len(layout["shapes"]) == drawn and [note["text"] for note in layout["annotations"]] == [said]
    assert f"epsilon {bound(limit)}" in page and "e^epsilon times as likely" in page
    assert "Kinds without noise: update (the model&#x27;s change with tallies" in page


@pytest.mark.parametrize(
    ("secure", "release", "how"),
    [
        (True, "update", "masked"),
        (True, "report_again", "masked"),
        (False, "update", "in the open"),
        (True, "declaration", "in the open"),
        (True, "shares", "no values"),
        (True, "acknowledgement", "no values"),
    ],
)
def test_only_values_in_a_secure_plan_are_called_masked(secure: bool, release: str, how: str) -> None:
    body = {"number": 3, "time": "2026-01-02T03:04:05"} | receipt_to_json(receipt(1, secure=secure, release=release))
    page = receipts_html("north", [body], "")
    assert f"<td>{how}</td>" in page and f"{int(how == 'masked')} of them masked" in page
    assert f"<td>{release}</td><td>" in page.split("SHA-256")[0], "what the kind is, above the list"
    assert ("masked, for a sum" in receipt_words(body)) == (how == "masked")


def test_course_of_a_long_study_has_its_first_and_its_last_entry(command: Command) -> None:
    with _open() as ledger:
        _work(ledger, rounds=60)
    entries = postings(verify_ledger(Path("north") / LEDGER, None))
    line = course(entries, delta=1e-5)
    assert len(line) == 24 and [value for _, value in line] == sorted(value for _, value in line)
    assert line[-1][1] == epsilon([one.spent for one in entries], delta=1e-5)
    assert course([], delta=1e-5) == [] and accounts([], ledger_cli._books(Path("north")).budget) == ([], [])


def test_receipts_are_shown_exported_and_verified_elsewhere(command: Command, tmp_path: Path) -> None:
    with _open() as ledger:
        _work(ledger)
    key = load_signing_key(site("north"))
    for name, signer in (("north", key), ("other", OTHER_KEY)):
        Path(f"{name}.card.json").write_bytes(to_json(enrol("north", signer)))
    shown = command("receipts", "show", "north", "--last", "2").stdout.splitlines()
    assert "train, round 6: refused (budget_exceeded), nothing left" in shown[0]
    assert "1,005 bytes to heart-federation, masked, for a sum" in shown[1] and len(shown) == 3
    assert len(command("receipts", "show", "north", "--json").stdout.splitlines()) == 7
    command("receipts", "export", "north", "--out", "filed")
    for name in ("receipts.html", "receipts.md"):
        text = Path("filed", name).read_text()
        assert "6 releases from" in text and "refused requests: 1." in text and "2.5 → 1" in text
        assert text.count(receipt(5).sha256) >= 1 and "budget_exceeded" in text
    with pytest.raises(ConsiliumError, match="never written over"):
        command("receipts", "export", "north", "--out", "filed")
    shutil.rmtree("north")
    exported = ("receipts", "verify", "--file", "filed/records.jsonl")
    for options in ((), ("--card", "north.card.json")):
        done = command(*exported, *options)
        assert done.exit_code == 0 and "14 records, all of them as they were written" in done.stdout
    done = command(*exported, "--card", "other.card.json")
    assert done.exit_code == 1 and "BROKEN: record 14: is signed with another key" in done.stdout
    lines = Path("filed/records.jsonl").read_text().replace('"bytes": 1003', '"bytes": 9003')
    Path("filed/records.jsonl").write_text(lines)
    done = command(*exported)
    assert done.exit_code == 1 and "BROKEN: record 9: was changed" in done.stdout


def test_a_ledger_that_was_written_anew_is_not_the_one_that_was_exported(command: Command) -> None:
    with _open() as ledger:
        _work(ledger)
    command("receipts", "export", "north", "--out", "filed")
    with _open() as ledger:
        _work(ledger)
    both = ("receipts", "verify", "north", "--file", "filed/records.jsonl")
    assert command(*both).exit_code == 0
    for path in Path("north").glob(f"{LEDGER}*"):
        path.unlink()
    with _open() as ledger:
        _work(ledger, rounds=20)  # with the site's own key: nothing in the chain itself is wrong
    assert command("receipts", "verify", "north").exit_code == 0
    done = command(*both)
    assert done.exit_code == 1 and "is not the one that was exported" in done.stdout


def test_a_broken_ledger_never_ends_well(command: Command) -> None:
    with _open() as ledger:
        _work(ledger)
    path = Path("north") / LEDGER
    path.write_bytes(path.read_bytes().replace(b'"bytes":1003', b'"bytes":1004'))
    for arguments in (("ledger", "north"), ("receipts", "show", "north"), ("receipts", "verify", "north")):
        done = command(*arguments)
        assert done.exit_code == 1 and "BROKEN: record 9: " in done.stdout, arguments
    done = command("receipts", "export", "north", "--out", "filed")
    assert done.exit_code == 1 and not Path("filed").exists()


def test_a_copy_is_accepted_by_typing_the_sites_name(command: Command) -> None:
    with _open() as ledger:
        _work(ledger)
    backup = (Path("north") / LEDGER).read_bytes()
    with _open() as ledger:
        _work(ledger)
    (Path("north") / LEDGER).write_bytes(backup)
    assert (
        "BROKEN: record 15: is missing, and so are all up to record 27" in command("receipts", "verify", "north").stdout
    )
    for typed in ("south\n", ""):
        with pytest.raises(ConsiliumError, match="Not accepted"):
            command("ledger", "north", "--accept-restored", typed=typed)
    done = command("ledger", "north", "--accept-restored", typed="north\n")
    assert done.exit_code == 0 and "14 records" not in done.stdout
    with _open() as ledger:
        ledger.spend(entry(9, spent=OPEN))
    assert command("receipts", "verify", "north").exit_code == 0


def test_without_a_ledger_one_sentence_says_so(command: Command) -> None:
    with pytest.raises(ConsiliumError, match="begins with its first release"):
        command("ledger", "north")
    with pytest.raises(ConsiliumError, match="Name a site"):
        command("receipts", "verify")
