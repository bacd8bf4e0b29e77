#!/bin/sh
# Sees to it that there are prometheus and promtool for the tests: Debian's package, unpacked beside, not installed.
#   prometheus.sh FOLDER     they come to FOLDER/usr/bin, unless they are on the PATH
# Elsewhere than on Debian and Ubuntu it does nothing, and the tests that need them are skipped, saying so.
set -eu

folder=$1
command -v prometheus >/dev/null && command -v promtool >/dev/null && exit 0
[ -x "$folder/usr/bin/prometheus" ] && [ -x "$folder/usr/bin/promtool" ] && exit 0
command -v apt-get >/dev/null && command -v dpkg >/dev/null || exit 0

echo "Fetching Prometheus for the tests of alerts and dashboards ..."
new=$folder.new
rm -rf "$new"
mkdir -p "$new/fetched"
fetch() { (cd "$new/fetched" && apt-get download -q prometheus >/dev/null 2>&1); }
update() { [ "$(id -u)" = 0 ] && apt-get update -q >/dev/null 2>&1 || sudo -n apt-get update -q >/dev/null 2>&1; }
if fetch || { update && fetch; } && dpkg -x "$new"/fetched/*.deb "$new/unpacked"; then
  rm -rf "$folder"
  mv "$new/unpacked" "$folder"
else
  echo 'Prometheus could not be fetched; the tests that need it are skipped.' >&2
fi
rm -rf "$new"
