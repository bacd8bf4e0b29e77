#!/bin/sh
# Sees to it that there is a Chromium for the end-to-end tests.
#   browser.sh PYTHON
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null && exit 0
done

as_root=
[ "$(id -u)" = 0 ] || as_root='sudo -n'
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
  echo 'Installing Chromium for the end-to-end tests ...'
  $as_root apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q -y --no-install-recommends chromium >/dev/null && exit 0
fi

"$1" -m playwright install chromium && exit 0
echo 'The end-to-end tests need Chromium: install it (on Debian: apt install chromium), then try again.' >&2
exit 1
