"""A document's commands, typed as they stand: its code blocks, and bare machines (containers) on which they are typed.

A block is marked by the words after ```bash. `terminal`: it stays open in a terminal of its own. `container`: it is for
a machine with Docker. `root`, `coordinator`: who types it, where a document has more than one reader. `systemd`: it is
left out, for containers have none.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = "python:3.11-slim-bookworm"
USER_SHELL = "runuser -u consilium"
LIMIT_S = 1200.0
CHECKOUT = "/checkout"  # in a container


@dataclass
class Book:
    """The blocks of one document that are to be typed. replaced: the words that it tells a reader to replace."""

    path: Path
    _blocks: list[tuple[str, str]] = field(init=False)
    _typed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        found = re.findall(r"^```bash *([\w ]*)\n(.*?)^```$", self.path.read_text(), re.MULTILINE | re.DOTALL)
        self._blocks = [(mark, text) for mark, text in found if "systemd" not in mark]

    def block(self, words: str, *, mark: str = "", **replaced: str) -> str:
        """The one block with these words in it, as a reader types it. replaced: the document's word -> the reader's.

        A word with a dot is written with an underscore: `stays_csv`.
        """
        hits = [n for n, (its, text) in enumerate(self._blocks) if words in text and its == mark]
        assert len(hits) == 1, f"{self.path.name}: {len(hits)} blocks marked {mark!r} have {words!r} in them"
        self._typed.add(hits[0])
        text = self._blocks[hits[0]][1]
        for word, own in replaced.items():
            text = re.sub(rf"\b{re.escape(word.replace('_', '.'))}\b", own, text)
        return text

    @property
    def left_out(self) -> list[str]:
        """Blocks that nobody has typed."""
        return [text for number, (_, text) in enumerate(self._blocks) if number not in self._typed]


@dataclass
class Machine:
    """A container with nothing but Python, as a new machine is. shell: the document's command for the user's shell."""

    name: str
    shell: str = ""

    def start(self, image: str, network: str, *names: str) -> None:
        """names: under which other machines find it."""
        aliases = [word for name in names for word in ("--network-alias", name)]
        docker("run", "--detach", "--name", self.name, "--network", network, *aliases, image, "sleep", "infinity")

    def unpack(self) -> None:
        """The checkout as it is now, without what git ignores, as a clone or an archive brings it."""
        words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout
        pack = ["tar", "--create", "--null", "--files-from=-", "--ignore-failed-read"]
        packed = subprocess.run(pack, cwd=ROOT, input=listed, capture_output=True, check=True).stdout
        docker("exec", self.name, "mkdir", CHECKOUT)
        unpack = ["docker", "exec", "--interactive", self.name, "tar", "-x", "-C", CHECKOUT]
        subprocess.run(unpack, input=packed, check=True)

    def root(self, text: str, *, folder: str = CHECKOUT) -> str:
        """What `text` prints when root types it in `folder`."""
        return docker("exec", "--interactive", "--workdir", folder, self.name, "bash", typed=_strict(text))

    def user(self, text: str, *, answer: str = "") -> str:
        """The same in the shell that the document opens for the user. answer: what is typed when it asks."""
        return docker("exec", "--interactive", self.name, "sh", "-c", self.shell, typed=_strict(text) + answer)

    def user_stays(self, text: str, log: str) -> None:
        """The same in a terminal of its own, whose screen is the file `log`."""
        inner = self.shell.replace("bash\n", f"bash -c '{text.strip()}' > {log} 2>&1")
        docker("exec", "--detach", self.name, "sh", "-c", inner)

    def service(self, unit: Path, log: str) -> None:
        """The unit's ExecStart as its User, with systemd's own environment, and no shell in between."""
        settings = dict(re.findall(r"^(ExecStart|User|UMask)=(.*)$", unit.read_text(), re.MULTILINE))
        clean = "env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8"
        inside = f"umask {settings['UMask']}; cd /; exec {clean} {settings['ExecStart']}"
        start = f"runuser -u {settings['User']} -- sh -c '{inside}' > {log} 2>&1"
        docker("exec", "--detach", self.name, "sh", "-c", start)

    def get(self, path: str) -> bytes:
        done = subprocess.run(["docker", "exec", self.name, "cat", path], capture_output=True, check=True)
        return done.stdout

    def put(self, data: bytes, path: str, owner: str = "root") -> None:
        """Owned by `owner` and nobody else's to read, as a file that came by mail."""
        words = f"cat > {path} && chown {owner} {path} && chmod 600 {path}"
        subprocess.run(["docker", "exec", "--interactive", self.name, "sh", "-c", words], input=data, check=True)


@dataclass
class InCompose:
    """The same person with Docker: what begins with `consilium` is typed after the words that the document gives."""

    folder: Path
    before: str
    environment: Mapping[str, str]

    def user(self, text: str, *, answer: str = "") -> str:
        said = ""
        for command in commands(text):
            inside = command.startswith("consilium ")
            where = ROOT if inside else self.folder
            words = f"{self.before} {command}" if inside else command
            done = subprocess.run(
                ["bash", "-c", words],
                cwd=where,
                env=self.environment,
                input=answer,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
            assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
            said += done.stdout
        return said

    def here(self, text: str, *, well: bool = True, answer: str = "") -> str:
        """What is printed when it is typed in the clone. well: it has to succeed; otherwise nothing is its failure.

        answer: what is typed when it asks.
        """
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=ROOT,
            env=self.environment,
            input=answer,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0 or not well, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout if done.returncode == 0 else ""

    def get(self, path: str) -> bytes:
        return (self.folder / Path(path).name).read_bytes()

    def put(self, data: bytes, path: str, owner: str = "") -> None:
        (self.folder / Path(path).name).write_bytes(data)


def commands(text: str) -> Iterator[str]:
    """One command after the other; a document in the command (<<'END') belongs to it."""
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        command = line
        if "<<'END'" in line:
            for line in lines:
                command += line
                if line == "END\n":
                    break
        if command.strip():
            yield command


def docker(*words: str, typed: str | None = None) -> str:
    """What a docker command prints; fails where it does."""
    done = subprocess.run(["docker", *words], input=typed, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, f"docker {' '.join(words)}\n{typed or ''}\n{done.stdout}{done.stderr}"
    return done.stdout


def _strict(text: str) -> str:
    """A person looks after every line; a shell that is fed them has to be told."""
    return f"set -e\n{text}"
