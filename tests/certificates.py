"""A CA of a test's own, and certificates by it: good, lapsed, for another name; made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

LAPSED: Final = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")

_CONFIG: Final = """
[ca]
default_ca = ours
[ours]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copyall
unique_subject = no
[any]
commonName = supplied
"""
"""Of `openssl ca`, which alone can set a time that has passed, in every version."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Of a server or a client: the file has certificate and key."""

    file: Path


@final
class Authority:
    """Signs whatever it is asked to."""

    def __init__(self, folder: Path, name: str = "tests") -> None:
        self._folder = folder / f"ca-{name}"
        self._folder.mkdir(parents=True)
        self.file = self._folder / "ca.pem"
        self._key = self._folder / "ca.key"
        self._config = self._folder / "ca.cnf"
        self._config.write_text(_CONFIG.format(folder=self._folder))
        (self._folder / "index.txt").touch()
        self._run(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN=CA of {name}", "-days", "2", "-keyout", str(self._key), "-out", str(self.file)),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def issue(self, label: str, names: str = "IP:127.0.0.1,DNS:localhost", *, lapsed: bool = False) -> Certificate:
        """Make a certificate for these names, as openssl writes `subjectAltName`."""
        key, request, made = (self._folder / f"{label}.{end}" for end in ("key", "csr", "crt"))
        self._run(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={label}", "-addext", f"subjectAltName={names}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        times = LAPSED if lapsed else ("-days", "2")
        self._run(
            *("ca", "-batch", "-notext", "-config", str(self._config), "-cert", str(self.file)),
            *("-keyfile", str(self._key), "-in", str(request), "-out", str(made), *times),
        )
        both = self._folder / f"{label}.pem"
        both.write_text(made.read_text() + key.read_text())
        return Certificate(both)

    @staticmethod
    def _run(*words: str) -> None:
        subprocess.run(("openssl", *words), check=True, capture_output=True)
