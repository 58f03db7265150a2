"""Logins of a page: names with hashed passwords in one file, a line each, and who it is that asks. Knows no tab and no workspace.

    NAME:scrypt$SALT$KEY        salt and key in hex; `python app.py --hash-password NAME` writes such a line

scrypt as in RFC 7914, with N = 2^14, r = 8, p = 1: a guess costs 16 MB and some 50 ms.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ssa_me.errors import InputError

SCHEME = "scrypt"
LEAST_PASSWORD = 8
LONGEST_PASSWORD = 1000
_SALT_BYTES, _KEY_BYTES = 16, 32
_HOW = "Make its lines with: python app.py --hash-password NAME"


@dataclass(frozen=True)
class Logins:
    """Who may enter: name → salt and key."""

    entries: Mapping[str, tuple[bytes, bytes]] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Logins:
        """The logins of a file; blank lines and those that begin with # are left out. InputError where it cannot be read,
        a line is none, a name stands there twice, or there is no line at all."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The file of logins {path} cannot be read: {error}") from error
        entries: dict[str, tuple[bytes, bytes]] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, entry = _parse(line.strip(), f"{path}, line {number}")
            if name in entries:
                raise InputError(
                    f"{path}, line {number}: {name} stands there twice. Leave one of the lines out."
                )
            entries[name] = entry
        if not entries:
            raise InputError(f"The file of logins {path} names nobody, so that nobody could enter. {_HOW}")
        return cls(entries)

    def check(self, name: str, password: str) -> bool:
        """Whether it is that one's password. An unknown name takes as long as a wrong password."""
        salt, key = self.entries.get(name, (bytes(_SALT_BYTES), bytes(_KEY_BYTES)))
        right = hmac.compare_digest(_derive(password[:LONGEST_PASSWORD], salt), key)
        return right and name in self.entries and len(password) <= LONGEST_PASSWORD


def line_of(name: str, password: str) -> str:
    """The line of a file of logins. InputError for a name or a password that will not do."""
    _check_name(name)
    if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InputError(f"A password has {LEAST_PASSWORD} characters at least, {LONGEST_PASSWORD} at most.")
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"{name}:{SCHEME}${salt.hex()}${_derive(password, salt).hex()}"


class Asking(Protocol):
    """A request: what arrives is the web framework's own, also where Gradio's is promised."""

    @property
    def app(self) -> Any: ...

    @property
    def cookies(self) -> Any: ...


def login_of(request: Asking) -> str | None:
    """Who is logged in on this page; None where it asks for no login. Gradio keeps the names by the cookie's token."""
    page = request.app
    for kind in ("access-token", "access-token-unsecure"):
        user = page.tokens.get(request.cookies.get(f"{kind}-{page.cookie_id}"))
        if user is not None:
            return str(user)
    return None


def behind_login(route: Route) -> Route:
    """The same route, which answers 401 to whoever is not logged in on a page that asks for it: Gradio guards only its own."""
    answer = route.endpoint

    def guarded(request: Request) -> Response:
        if request.app.auth is not None and login_of(request) is None:
            return PlainTextResponse("Log in first.", 401)
        found: Response = answer(request)
        return found

    return Route(route.path, guarded)


def _derive(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=_KEY_BYTES)


def _check_name(name: str) -> None:
    """InputError unless it can be an annotator's name as it stands, so that no two logins are one annotator, and a line's."""
    from ssa_me.annotation import check_name

    try:
        fits = check_name(name) == name and ":" not in name and not name.startswith("#")
    except InputError:
        fits = False
    if not fits:
        raise InputError(
            f"{name!r} is no name for a login: at most 40 letters, no colon, no # at its head, single spaces inside alone."
        )


def _parse(line: str, where: str) -> tuple[str, tuple[bytes, bytes]]:
    name, _, hashed = line.partition(":")
    try:
        _check_name(name)
        scheme, salt, key = hashed.split("$")
        entry = bytes.fromhex(salt), bytes.fromhex(key)
        if scheme != SCHEME or len(entry[0]) < 8 or len(entry[1]) != _KEY_BYTES:
            raise ValueError("another scheme, or a salt or key of another length")
    except (InputError, ValueError) as error:
        raise InputError(f"{where} is no login. {_HOW}") from error
    return name, entry
