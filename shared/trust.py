"""Whose certificates are taken, public CAs' and those of DARKROOM_CA_FILE, and what is wrong with one that isn't."""

from __future__ import annotations

import atexit
import base64
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_PEM: Final = b"-----BEGIN"
_DER: Final = b"\x30\x82"
"""How a certificate begins: a sequence of 256 bytes or more."""
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_SIGNER: Final = frozenset({2, 18, 19, 20, 21, 24, 26, 27})
_OTHER_NAME: Final = frozenset({62, 64})
"""X509_V_ERR_... of OpenSSL (x509_vfy.h)."""

_SHOW_ONE: Final = "name one with ssl_certfile and ssl_keyfile, signed by a CA it knows."
_REFUSALS: Final = {
    "CERTIFICATE_REQUIRED": f"It asks for a client's certificate: {_SHOW_ONE}",
    "BAD_CERTIFICATE": f"It does not take the client's certificate, or misses one: {_SHOW_ONE}",
    "ALERT_UNKNOWN_CA": "It does not know the CA that signed the client's certificate, the one of ssl_certfile.",
    "CERTIFICATE_EXPIRED": "The client's certificate, of ssl_certfile, has expired: renew it.",
    "HANDSHAKE_FAILURE": (
        "It breaks the handshake off, and does not say why. Either there is no cipher that it and this machine both "
        f"take, or it asks for a client's certificate: then {_SHOW_ONE}"
    ),
    "PROTOCOL_VERSION": "There is no version of TLS that it and this machine both take: it needs 1.2 or 1.3.",
    "UNSUPPORTED_PROTOCOL": "It speaks an old version of TLS alone: it needs 1.2 or 1.3.",
}
"""By a part of OpenSSL's reason. Before TLS 1.3 a missing certificate has the same one as ciphers that don't fit."""


def checked_ca_file(path: Path) -> Path:
    """Hand a file of certificates back. Raises ValueError if it can't be read or holds none."""
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        raise ValueError(f"{path} holds no certificates: it needs those of the CA, in PEM form") from None
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    return path


def file_of_certificates(word: str) -> Path | None:
    """Make a file of certificates that are given themselves, in base64; None of what is no such thing, as a path.

    PEM or DER. The file goes when the process ends.
    """
    try:
        given = base64.b64decode("".join(word.split()), validate=True)
        text = given.decode() if given.startswith(_PEM) else ssl.DER_cert_to_PEM_cert(given)
    except ValueError:
        return None
    return _kept(text) if given.startswith((_PEM, _DER)) else None


def readable(name: str, path: Path) -> None:
    """Raise ValueError if a file that the settings name can't be read."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{name}={path} can't be read: {error.strerror}") from None


@cache
def bundle(public: Path, own: Path) -> Path:
    """Make a file of both CAs' certificates, for libraries that take a single one; it goes when the process ends."""
    return _kept("\n".join(path.read_text(encoding="utf-8") for path in (public, own)))


@cache
def _kept(text: str) -> Path:
    """Libraries open it anew for each connection, for weeks: on Linux it is in memory, where nobody tidies up."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("darkroom-ca")
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        return Path(f"/proc/self/fd/{descriptor}")
    with tempfile.NamedTemporaryFile("w", prefix="darkroom-ca-", suffix=".pem", delete=False, encoding="utf-8") as file:
        file.write(text)
    made = Path(file.name)
    atexit.register(made.unlink, missing_ok=True)
    return made


def tls_trouble(error: BaseException) -> str | None:
    """Say why TLS did not come about, and what to do; None if that was not what `error` came of."""
    chain = list(causes(error))
    if any(type(one).__name__ == "CertificateError" for one in chain):  # urllib3 compares names itself, not OpenSSL
        return _wrong_certificate(min(_OTHER_NAME))
    found = next((one for one in chain if isinstance(one, ssl.SSLError)), None)
    if isinstance(found, ssl.SSLCertVerificationError):
        return _wrong_certificate(found.verify_code)
    if found is None:
        return None
    reason = (found.reason or "").upper()
    if said := next((said for named, said in _REFUSALS.items() if named in reason), None):
        return said
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason or "HTTP_REQUEST" in reason:
        return "There is no TLS on that port: is it another one?"
    return f"TLS failed: {found.reason or 'the connection ended in the middle of the handshake'}."


def _wrong_certificate(code: int) -> str:
    if code == _EXPIRED:
        return "Its certificate has expired: renew it there."
    if code == _NOT_YET:
        return "Its certificate is not valid yet: is this machine's clock right?"
    if code in _OTHER_NAME:
        return (
            "Its certificate is for another name than the one in the settings: use that name, or have one made that "
            "holds this one."
        )
    if code in _UNKNOWN_SIGNER:
        return (
            "Its certificate is signed by nobody whom this machine trusts: name the CA's own certificate in "
            "DARKROOM_CA_FILE."
        )
    return f"Its certificate is not accepted (OpenSSL's reason {code})."


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to what it came of; libraries tell that in several ways."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = next((one for one in error.args if isinstance(one, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
