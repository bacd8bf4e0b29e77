"""Makes a release: a commit and an annotated tag, here. Nothing is pushed and no image is built.

    python -m deploy.release 0.2.0

All is looked at before anything is written: the tree is clean, the version is a later one, the changelog has something
to tell, the lock fits pyproject.toml, licences are told of what is locked, and the locked packages were scanned for
known vulnerabilities. Then the changelog's coming section gets its name and day, the version goes where it stands, and
the images' contents are written beside.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

from deploy.audit import MODE, OPTIONAL, REQUIRED, audit
from deploy.licences import PAGE, page
from deploy.locked import ROOT, unpinned
from shared.version import VERSION

CHANGELOG: Final = ROOT / "CHANGELOG.md"
VERSION_FILE: Final = ROOT / "shared" / "version.py"
COMING: Final = "## Unreleased"

_PLAIN: Final = re.compile(r"\d+\.\d+\.\d+")
TELLS_TAG: Final = re.compile(r"darkroom-[a-z-]+:|DARKROOM_VERSION:-|newTag:")
"""Lines that name our images' tag."""


class NotReady(Exception):
    """What keeps a release from being made; the argument says what to do."""


def checked_version(said: str, now: str, tags: frozenset[str]) -> str:
    """Check the version to be: three numbers, no tag yet, not before this one. Raises NotReady."""
    try:
        version = Version(said)
    except InvalidVersion:
        version = None
    if version is None or not _PLAIN.fullmatch(said):
        raise NotReady(f"VERSION is {said!r}: say three numbers, such as make release VERSION=0.2.0.")
    if f"v{said}" in tags:
        raise NotReady(f"There is a tag v{said} already: a release never changes. Choose the next number.")
    if version < Version(now):
        raise NotReady(f"{said} is before {now}, which is the version now.")
    return said


def dated(changelog: str, version: str, day: date) -> tuple[str, str]:
    """Give the coming section its name and day, above it an empty one; the whole, and that section's text.

    Raises NotReady.
    """
    head, found, rest = changelog.partition(f"{COMING}\n")
    if not found:
        raise NotReady(f"CHANGELOG.md has no section {COMING!r}.")
    cut = re.search(r"^## ", rest, re.MULTILINE)
    told, older = (rest, "") if cut is None else (rest[: cut.start()], rest[cut.start() :])
    if not told.strip():
        raise NotReady(f"CHANGELOG.md tells nothing under {COMING!r}: what is released?")
    section = f"## {version} ({day:%Y-%m-%d})\n\n{told.strip()}\n"
    return f"{head}{COMING}\n\n{section}{older and chr(10) + older}", section


def tagged(text: str, before: str, after: str) -> str:
    """Name another version on the lines that tell our images' tag."""
    whole = re.compile(rf"(?<![\d.]){re.escape(before)}(?![\d.]*\d)")
    lines = text.splitlines(keepends=True)
    return "".join(whole.sub(after, line) if TELLS_TAG.search(line) else line for line in lines)


def release(said: str, *, day: date | None = None) -> str:
    """Make it, and give the tag's name. Raises NotReady; then nothing was written."""
    version = checked_version(said, VERSION, frozenset(_git("tag", "--list").split()))
    if _git("status", "--porcelain"):
        raise NotReady("There are changes that are not committed: commit them, or put them away (git stash -u).")
    if not _git("branch", "--show-current").strip():
        raise NotReady("No branch is checked out: a release is a commit on one.")
    changelog, section = dated(CHANGELOG.read_text(), version, day or datetime.now(tz=UTC).date())
    if loose := unpinned():
        raise NotReady(f"requirements.lock does not fit pyproject.toml: {', '.join(loose)}. Run make lock.")
    mode = OPTIONAL if os.environ.get(MODE) == OPTIONAL else REQUIRED
    if audit(sys.stdout, {**os.environ, MODE: mode}):
        raise NotReady(
            "The locked packages are not known to be safe, see above. Renew them, or accept an advisory in "
            "deploy/advisories.toml; where nobody answers, DARKROOM_AUDIT=optional releases without a scan."
        )
    if page()[0] != PAGE.read_text():
        raise NotReady("docs/licences.md is not what is installed and locked: run make licences, and commit it.")
    before = _git("rev-parse", "HEAD").strip()
    try:
        _make(version, changelog, section)
    except BaseException:
        _git("reset", "--hard", "--quiet", before)  # nothing of anybody's was in the tree
        raise
    return f"v{version}"


def _make(version: str, changelog: str, section: str) -> None:
    CHANGELOG.write_text(changelog)
    for file in naming_tags():
        file.write_text(tagged(file.read_text(), VERSION, version))
    VERSION_FILE.write_text(VERSION_FILE.read_text().replace(f'"{VERSION}"', f'"{version}"'))
    # In a process of its own, which reads the new version.
    if subprocess.call([sys.executable, "-m", "deploy.sbom"], cwd=ROOT):
        raise NotReady("The bills of materials could not be made, see above.")
    # The hook that runs `make check` has run for what is committed; here only names have changed.
    _git("commit", "--quiet", "--no-verify", "--all", "--message", f"Release {version}")
    _git("tag", "--annotate", "--cleanup=verbatim", f"v{version}", "--message", section)


def naming_tags() -> list[Path]:
    """List the files that name our images' tag."""
    kubernetes = (ROOT / "deploy" / "kubernetes").rglob("*.yaml")
    return sorted([*ROOT.glob("docker-compose*.yml"), *kubernetes])


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        raise NotReady(f"git {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def main() -> None:
    """Release what `VERSION` says, and tell what is left to do."""
    try:
        tag = release(sys.argv[1] if len(sys.argv) > 1 else "")
    except NotReady as error:
        sys.exit(str(error))
    sys.stdout.write(
        f"{tag} is made, here alone. To publish it: git push origin HEAD {tag}; build the images from the tag, and "
        "attach build/sbom/*.cdx.json. To take it back: git tag -d and git reset --hard HEAD~1, before it is pushed.\n"
    )


if __name__ == "__main__":
    main()
