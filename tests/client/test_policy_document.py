"""docs/policy.md says what the code does: a complete example, every code, every command."""

import re
from pathlib import Path

from client.policy.policy import load_policy
from client.refusals import CODES
from experiments.reference import sections

DOCUMENT = Path(__file__).parents[2] / "docs" / "policy.md"
OF_POLICY = range(120, 160)


def test_the_example_is_valid_and_complete(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    (tmp_path / "policy.toml").write_text(example)
    policy = load_policy(tmp_path / "policy.toml")
    for heading, model in sections("policy.md"):
        name = heading.partition("[")[2].rstrip("]`")
        assert getattr(policy, name).model_fields_set == set(model.model_fields), f"{name}: keys missing in the example"


def test_every_code_is_explained_with_its_number() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", DOCUMENT.read_text(), flags=re.MULTILINE)
    told = {code: int(number) for code, number in rows}
    assert {code for code, (number, _) in CODES.items() if number in OF_POLICY} <= set(told)
    assert told == {code: CODES[code][0] for code in told}
