"""The two files of an enrolment: what a hospital asks with, and what the coordinator invites it with.

Both hold public things only. Reading one checks its form; whose key a certificate holds, and whether the roster and
the plan may be accepted, is checked where they are used.
"""

import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from common.errors import ConsiliumError
from common.network.address import host_and_port
from common.network.node_key import key_header
from common.plan.base import NAME, NAME_WORDS, matching

MOST_BYTES = 4 * 2**20


def _address(value: str) -> str:
    host_and_port(value)
    return value


def _node_key(value: str) -> str:
    key_header(value)
    return value


Name = Annotated[str, matching(NAME, NAME_WORDS)]
"""Of a site or a federation, as in a roster: it reaches screens, file names and the gateway's configuration."""
Address = Annotated[str, AfterValidator(_address)]
NodeKey = Annotated[str, AfterValidator(_node_key)]
Certificate = Annotated[
    str, Field(max_length=16_384, pattern=r"^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n$")
]
Request = Annotated[
    str,
    Field(
        max_length=16_384,
        pattern=r"^-----BEGIN CERTIFICATE REQUEST-----\n[^-]+-----END CERTIFICATE REQUEST-----\n$",
    ),
]


class Document(BaseModel):
    """A file that travels: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    def to_bytes(self) -> bytes:
        """UTF-8 text, indented, with a line break at its end."""
        return (json.dumps(self.model_dump(), indent=1, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> Self:
        """The document in `data`. source: the file's name, for messages. Raises ConsiliumError, one sentence."""
        content = _object(data, source)
        wanted = cls.model_fields["format"].default
        if content.get("format") != wanted:
            raise ConsiliumError(f"{source}: 'format' is {_short(content.get('format'))}, but it has to be {wanted!r}.")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ConsiliumError(f"{source}: {_problem(error)}") from None


class SiteRequest(Document):
    """A hospital's public keys, NAME.request.json, for the coordinator.

    card: the JSON object of its EnrolCard. node_key: one line. certificate_request: PEM, its subject the site's name.
    """

    format: Literal["consilium-site-request-1"] = "consilium-site-request-1"
    site: Name
    card: dict[str, Any]
    node_key: NodeKey
    certificate_request: Request


class Invitation(Document):
    """What the coordinator answers with, NAME.invitation.json.

    address: HOST:PORT to dial. authority, certificate: PEM. plan: as in plan.json. roster: the proposal as in
    proposal.json. previous: the roster before it, None for the first.
    """

    format: Literal["consilium-invitation-1"] = "consilium-invitation-1"
    federation: Name
    site: Name
    address: Address
    authority: Certificate
    certificate: Certificate
    plan: dict[str, Any]
    roster: dict[str, Any]
    previous: dict[str, Any] | None


def _object(data: bytes, source: str) -> dict[str, Any]:
    """The JSON object in `data`, in which no key stands twice and every number is finite."""
    if len(data) > MOST_BYTES:
        raise ConsiliumError(f"{source}: has {len(data)} bytes, but a file of this kind has at most {MOST_BYTES}.")
    try:
        content = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ConsiliumError(f"{source}: not JSON text: nested too deeply.") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and what int() refuses
        raise ConsiliumError(f"{source}: not JSON text: {error}.") from None
    if not isinstance(content, dict):
        raise ConsiliumError(f"{source}: holds {_short(content)}, but it has to be an object with keys.")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{_short(twice)} is given twice; every key may stand once")
    return result


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return float(text)


def _problem(error: ValidationError) -> str:
    """The first of pydantic's findings: key, what was found, what is allowed."""
    detail = error.errors(include_url=False)[0]
    key, kind = ".".join(str(step) for step in detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        return f"unknown key {_short(key)}."
    if kind == "missing":
        return f"required key '{key}' is missing."
    found, message = _short(detail["input"]), detail["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        message = _ALLOWED.get(key, "it has to be one block in PEM form")
    return f"'{key}' is {found}, but {message[0].lower()}{message[1:]}."


_NAMES = "names are of lower-case letters, digits, '_' and '-', at most 64"
_ALLOWED = {"site": _NAMES, "federation": _NAMES}


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
