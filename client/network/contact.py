"""What came back from the coordinator's gateway, in words; and the file in which the SuperNode says it last.

A SuperNode asks every three seconds, so the last answer tells whether a hospital is connected.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from common.errors import ConsiliumError
from common.files import exists, read_bytes, write_atomic

CONTACT = "contact.json"
_SIGNATURE_S = 300
"""How far Flower lets a node's clock be off."""

OK, UNREACHABLE, UNTRUSTED, CERTIFICATE, REFUSED, UNKNOWN, BUSY, BEHIND, ODD = (
    "ok",
    "unreachable",
    "gateway_not_trusted",
    "certificate_refused",
    "not_admitted",
    "not_registered",
    "busy",
    "coordinator_down",
    "unexpected_answer",
)
_ACTIVATION_FAILED, _BAD_INTERVAL = 2004, 2003  # FlowerError codes of ActivateNode


@dataclass(frozen=True)
class Contact:
    """One exchange. time: UTC, ISO 8601. code: one of the above. clock_s: this machine's clock minus the gateway's."""

    time: str
    code: str
    words: str
    clock_s: float | None = None

    @property
    def ok(self) -> bool:
        return self.code == OK


def of_response(response: httpx.Response, *, now: datetime) -> Contact:
    """What an answer of the gateway, or of what stands behind it, means. now: aware."""
    code, words = _meaning(response)
    return Contact(now.isoformat(timespec="seconds"), code, words, _clock_s(response, now))


def of_error(error: httpx.TransportError, *, now: datetime) -> Contact:
    """Why there was no answer."""
    text = str(error) or type(error).__name__
    low = text.lower()
    if "alert" in low:
        code = CERTIFICATE
        words = f"The gateway ended the handshake over this hospital's certificate ({text})."
    elif "certificate" in low:
        code, words = UNTRUSTED, f"{_wrong_with_gateway(low)} ({text})."
    else:
        code, words = UNREACHABLE, f"Nothing answers at the coordinator's address ({text})."
    return Contact(now.isoformat(timespec="seconds"), code, words)


def write_contact(state: Path, contact: Contact) -> None:
    """Keep `contact` as the last one. Raises ConsiliumError."""
    write_atomic(state / CONTACT, (json.dumps(asdict(contact)) + "\n").encode())


def read_contact(state: Path) -> Contact | None:
    """The last exchange; None before the first. Raises ConsiliumError."""
    path = state / CONTACT
    if not exists(path):
        return None
    try:
        return Contact(**json.loads(read_bytes(path)))
    except (ValueError, TypeError):
        raise ConsiliumError(f"{path}: is damaged; the running site writes it again.") from None


def _wrong_with_gateway(said: str) -> str:
    """What OpenSSL has found, of which only the rest means another coordinator."""
    if "has expired" in said:
        return "The gateway's certificate has expired, or this machine's clock is ahead"
    if "not yet valid" in said:
        return "The gateway's certificate is not valid yet, or this machine's clock is behind"
    if "mismatch" in said:
        return "The gateway's certificate is for another name than the one that this hospital dials"
    return "What answers at that address is not the coordinator that invited this hospital"


def _meaning(response: httpx.Response) -> tuple[str, str]:
    status, flower = response.status_code, _flower_code(response)
    if response.is_success or flower == _BAD_INTERVAL:
        return OK, "The coordinator answers and knows this hospital."
    if flower == _ACTIVATION_FAILED:
        return UNKNOWN, (
            "The coordinator does not let this hospital's node in yet: it is not registered there, or it stopped "
            "without saying so and is let in again after a minute."
        )
    match status:
        case 400:
            return CERTIFICATE, "The gateway does not accept this hospital's certificate; ask for a new invitation."
        case 401:
            return UNKNOWN, (
                "The coordinator does not accept this hospital's signature: its node is not registered there, or the "
                f"clocks differ by more than {_SIGNATURE_S // 60} minutes."
            )
        case 403:
            return REFUSED, (
                "The gateway does not admit this hospital: it was not enrolled or was revoked, or the certificate was "
                "made for another node key; ask the coordinator."
            )
        case 429 | 503:
            return BUSY, "The gateway asks to wait: it is busy, or the coordinator behind it is starting."
        case 502 | 504:
            return BEHIND, "The gateway is there, the coordinator behind it is not; it will be tried again."
    return ODD, f"The coordinator answered with status {status}."


def _flower_code(response: httpx.Response) -> int | None:
    try:
        content = response.json()
    except (ValueError, httpx.ResponseNotRead):
        return None
    code = content.get("code") if isinstance(content, dict) else None
    return code if isinstance(code, int) else None


def _clock_s(response: httpx.Response, now: datetime) -> float | None:
    try:
        return (now - parsedate_to_datetime(response.headers["date"]).astimezone(UTC)).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None
