"""A CA of this Darkroom's own, and certificates by it for servers; made by openssl's command.

Needs nothing but Python and openssl, or LibreSSL. Knows nothing of who shows them, and to whom.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

CA_DAYS: Final = 3650
SERVER_DAYS: Final = 397
"""A year, and a month to notice."""
_LONGEST_CN: Final = 64
"""X.520's bound; nobody reads it: what counts stands in subjectAltName."""

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_NAME: Final = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
)
_CONFIG: Final = """
[req]
distinguished_name = name
prompt = no
string_mask = utf8only
[name]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {alternatives}
"""


class NoCertificate(Exception):
    """None can be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows, and its key; both PEM."""

    chain: str
    key: str = field(repr=False)
    until: str
    """When it ends, as openssl says it."""


@final
class Authority:
    """A CA in a folder that its owner alone can read: made when it is first needed, and kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "ca.pem"
        self._key = folder / "ca.key"

    def issue(self, names: Sequence[str]) -> Certificate:
        """Make a certificate for these host names and addresses.

        Raises:
            NoCertificate: openssl is missing or refuses, a name is none, or the CA ends too soon.
        """
        alternatives = ",".join(_alternative(name) for name in names)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)  # one that was copied here
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            folder = Path(scratch)
            if not self.file.exists():
                self._make(folder)
            self._check_age()
            config, key, asked, made = (folder / name for name in ("cnf", "key", "csr", "crt"))
            config.write_text(_CONFIG.format(name=names[0][:_LONGEST_CN], alternatives=alternatives))
            _openssl("req", "-new", *_KEY, "-config", config, "-keyout", key, "-out", asked)
            signer = ("-CA", self.file, "-CAkey", self._key, "-set_serial", f"0x{secrets.token_hex(16)}")
            extensions = ("-extfile", config, "-extensions", "server")
            _openssl("x509", "-req", "-in", asked, *signer, "-sha256", "-days", SERVER_DAYS, *extensions, "-out", made)
            until = _openssl("x509", "-in", made, "-noout", "-enddate").strip().removeprefix("notAfter=")
            return Certificate(made.read_text() + self.file.read_text(), key.read_text(), until)

    def _make(self, folder: Path) -> None:
        config, key, made = folder / "ca.cnf", folder / "ca.key", folder / "ca.pem"
        # Two CAs of one name would be mistaken for each other.
        config.write_text(_CONFIG.format(name=f"Darkroom {secrets.token_hex(4)}", alternatives="DNS:none"))
        words = ("-config", config, "-extensions", "ca", "-days", CA_DAYS, "-sha256", "-keyout", key, "-out", made)
        _openssl("req", "-x509", *_KEY, *words)
        key.chmod(0o600)
        key.replace(self._key)
        made.replace(self.file)

    def _check_age(self) -> None:
        try:
            _openssl("x509", "-in", self.file, "-noout", "-checkend", SERVER_DAYS * 24 * 3600)
        except NoCertificate:
            raise NoCertificate(
                f"The CA in {self.file} ends before a new certificate would, or can't be read. Move "
                f"{self._folder.name}/ away for a new one; every other machine then needs the new join.env."
            ) from None


def is_address(name: str) -> bool:
    """True of an IP address, false of a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _alternative(name: str) -> str:
    if is_address(name):
        return f"IP:{name}"
    if not _NAME.fullmatch(name):
        raise NoCertificate(f"{name!r} is neither a host's name nor an address.")
    return f"DNS:{name}"


def _openssl(*words: object) -> str:
    tool = shutil.which("openssl")
    if tool is None:
        raise NoCertificate("There is no openssl on this machine: install it (apt install openssl).")
    done = subprocess.run([tool, *map(str, words)], capture_output=True, text=True, check=False)  # noqa: S603 our own words
    if done.returncode:
        raise NoCertificate(f"openssl {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
