#!/bin/sh
# Pins every package that pyproject.toml leads to, from a fresh virtual environment, in requirements.lock.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --disable-pip-version-check -q -e '.[api,courier,worker,ui,embedded,dev]'
{
  echo '# Every package, pinned; for Python 3.11 to 3.13. Made by `make lock` from pyproject.toml: do not edit.'
  # A build's own mark, such as torch's +cpu, would tie the lock to one machine.
  "$work/venv/bin/pip" freeze --disable-pip-version-check --exclude-editable | sed 's/+[a-z0-9.]*$//'
  # Wanted by some Pythons only, so a freeze on another does not see them.
  echo 'async-timeout==5.0.1; python_full_version < "3.11.3"'
  echo 'audioop-lts==0.2.2; python_version >= "3.13"'
} >"$work/lock"
mv "$work/lock" requirements.lock
