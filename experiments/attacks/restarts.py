"""Restarts, copies and restored backups of a site: none may make it answer one question twice in two ways."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from client.at_rest.files import Vaulted, VaultKey
from client.config import load_site
from client.policy.policy import SIMULATED, write_policy
from client.secure.keys import approve_roster, make_keys, sign_roster
from client.secure.store import STORE, FileVault
from common.secagg import roster as rosters
from common.secagg.encoding import encode
from common.secagg.messages import CloseSession
from common.secagg.report import Contribution
from experiments.attacks.measure import Measured
from experiments.attacks.registry import NOISE, attack
from experiments.attacks.stage import SITES, VICTIM, Stage, layout

VAULTED = Vaulted(VaultKey(bytes(range(32))), VICTIM)


@attack("restart of a site between any two steps", guard=NOISE, where="site")
def restarts(stage: Stage) -> Measured:
    """All sites are restarted after each of seven steps of two rounds; reports asked for twice are the same bytes."""

    def restart() -> None:
        for name in SITES:
            stage.restart(name)

    stage.open_session()
    restart()
    stage.cards  # noqa: B018  the list goes out with the first look at it
    exact = same = True
    for _ in range(2):
        restart()
        signed = stage.signed()
        reports = stage.reports(signed)
        restart()
        same = same and stage.reports(signed) == reports
        total = stage.sum(signed, reports)
        signatures = {name: stage.cross_check(name, total.cross_check_for(name)) for name in stage.roster.committee}
        restart()
        for name, signature in signatures.items():
            same = same and stage.cross_check(name, total.cross_check_for(name)) == signature
            total.take_crosscheck(name, signature)
        request = encode(total.unmask_request())
        for name in stage.roster.committee:
            shares = stage.sites[name].unmask(request)
            stage.restart(name)
            same = same and stage.sites[name].unmask(request) == shares
            total.take_shares(name, shares)
        exact = exact and bool((stage.opened(total) == stage.true_sum(total)).all())
    what = "Repeated answers are the same bytes" if same else "An answer differs when it is asked for again"
    return Measured(exact and same, f"{what}; both sums are {'' if exact else 'not '}exact.")


@attack("a crash while training", guard="report_lost", where="site")
def crash(stage: Stage) -> None:
    """The site stored the header and died before its report: asked again, it would make a second one."""
    signed = stage.signed()
    stage.sites[VICTIM].begin(encode(signed), layout(), training_round=1, model=signed.header.model)
    stage.restart(VICTIM)
    stage.report(VICTIM, signed)


@attack("another round while training", guard="round_overtaken", where="site")
def overtaken(stage: Stage) -> None:
    """While the victim trains for one header, it is made to begin another: its report must not mix the two."""
    first = stage.signed()
    begun = stage.sites[VICTIM].begin(encode(first), layout(), training_round=1, model=first.header.model)
    second = stage.signed(cohort=SITES[:-1])
    stage.sites[VICTIM].begin(encode(second), layout(), training_round=1, model=second.header.model)
    narrow, wide = stage.values(VICTIM, first.header)
    stage.sites[VICTIM].report(begun, Contribution(narrow, wide, bytes(32)))


@contextmanager
def on_disk(stage: Stage) -> Iterator[Path]:
    """The victim's store is a file in a new folder, as at a deployed site; the session is open."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "keys" / STORE
        stage.sites[VICTIM] = replace(stage.sites[VICTIM], vault=FileVault(path, VAULTED))
        stage.cards  # noqa: B018
        yield path


@attack("restored backup", guard="session_erased", where="site")
def restored(stage: Stage) -> None:
    """The store's file is put back as it was before the report; the victim is asked for the same round again."""
    with on_disk(stage) as path:
        backup = shutil.copy2(path, path.with_name("backup"))
        signed = stage.signed()
        stage.report(VICTIM, signed)
        path.unlink()
        shutil.copy2(backup, path)
        stage.report(VICTIM, signed)


@attack("backup restored in place", guard="session_erased", where="site")
def restored_in_place(stage: Stage) -> None:
    """The same, but the backup is written over the file, which so keeps its place on the disk."""
    with on_disk(stage) as path:
        backup = shutil.copy2(path, path.with_name("backup"))
        signed = stage.signed()
        stage.report(VICTIM, signed)
        shutil.copyfile(backup, path)
        stage.report(VICTIM, signed)


@attack("a whole folder restored", guard="session_erased", where="site")
def restored_folder(stage: Stage) -> None:
    """The same with the folder of keys and everything in it."""
    with on_disk(stage) as path:
        backup = shutil.copytree(path.parent, path.parent.with_name("backup"))
        signed = stage.signed()
        stage.report(VICTIM, signed)
        shutil.rmtree(path.parent)
        shutil.copytree(backup, path.parent)
        stage.report(VICTIM, signed)


@attack("two copies of a site", guard="session_erased", where="site")
def two_copies(stage: Stage) -> None:
    """The victim's folder is copied to a second machine, and each copy is asked under another header."""
    with on_disk(stage) as path, TemporaryDirectory() as folder:
        copy = Path(folder) / STORE
        shutil.copy2(path, copy)
        signed = stage.signed()
        stage.report(VICTIM, signed)
        stage.sites[VICTIM] = replace(stage.sites[VICTIM], vault=FileVault(copy, VAULTED))
        stage.report(VICTIM, stage.signed(cohort=SITES[:-1]))


@attack("a session after its end", guard="session_erased", where="site")
def after_the_end(stage: Stage) -> None:
    """A session is closed at the victim, and opened again under the same name."""
    stage.cards  # noqa: B018
    stage.sites[VICTIM].close(encode(CloseSession(stage.session)))
    stage.open_session()


@attack("a rival successor", guard="roster_rival", where="roster")
def rival(stage: Stage) -> None:
    """After the victim signed one first roster it is asked to sign another one with the same number."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "site.toml"
        file.write_text(f'[site]\nname = "{VICTIM}"\n\n[data]\nfiles = ["none.csv"]\n')
        config = load_site(file)
        write_policy(config.policy, SIMULATED)
        stage.keys[VICTIM] = make_keys(config, stage.random)
        for least in (3, 4):
            new = rosters.found(
                stage.keys, federation="grove", coordinator=stage.coordinator, colluding=1, min_sites=least
            )
            approve_roster(config, new.roster)
            sign_roster(config, new)
