"""`[at_rest]` of site.toml: where the key for what a site keeps encrypted comes from."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from client.site_data import FileName
from common.plan.base import Section, matching

Variable = Annotated[
    str,
    matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable: letters, digits and '_', not beginning with a digit"),
]


class AtRestRules(Section):
    """`[at_rest]`: the key under which this site's own files are encrypted; one of these, or none."""

    key_file: FileName | None = Field(
        default=None, description="File with the key, mode 0600: 64 hexadecimal digits, base64 or 32 bytes."
    )
    key_env: Variable | None = Field(
        default=None, description="Environment variable with the key: 64 hexadecimal digits or base64."
    )
    passphrase_env: Variable | None = Field(
        default=None,
        description="Environment variable with a passphrase; where it is not set, a command at a terminal asks.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.key_file, self.key_env, self.passphrase_env)) > 1:
            raise ValueError("[at_rest] names the key twice; keep one of key_file, key_env and passphrase_env")
        return self
