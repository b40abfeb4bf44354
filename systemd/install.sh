#!/usr/bin/env bash
# Installs (or upgrades) the service on this machine. Run as root beside the built binary:
#   systemd/install.sh target/release/gotham [FOLDER WITH MODEL FILES]
# Set DESTDIR to install into another root, as a package build does; then nothing is started.
set -euo pipefail

binary=${1:?usage: install.sh PATH/TO/gotham [MODELS FOLDER]}
models=${2:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${DESTDIR:-}

install -D -m 0755 "$binary" "$root/usr/bin/gotham.new"
mv -f "$root/usr/bin/gotham.new" "$root/usr/bin/gotham"
install -D -m 0644 "$here/gotham.service" "$root/usr/lib/systemd/system/gotham.service"
install -D -m 0644 "$here/gotham.sysusers.conf" "$root/usr/lib/sysusers.d/gotham.conf"
install -D -m 0644 "$here/gotham.tmpfiles.conf" "$root/usr/lib/tmpfiles.d/gotham.conf"
install -D -m 0644 "$here/../README.md" "$root/usr/share/doc/gotham/README.md"
# The administrator's file is never overwritten; the defaults are compiled in, so it may stay empty.
if [ ! -e "$root/etc/gotham/gotham.toml" ]; then
  install -D -m 0644 "$here/../data/gotham.toml" "$root/etc/gotham/gotham.toml"
fi
[ -z "$root" ] || exit 0

systemd-sysusers gotham.conf
systemd-tmpfiles --create gotham.conf
if [ -n "$models" ]; then
  mkdir -p /var/lib/gotham/models
  cp -r "$models"/. /var/lib/gotham/models/
  chown -R gotham:gotham /var/lib/gotham/models
fi
/usr/bin/gotham config check --config /etc/gotham/gotham.toml
systemctl daemon-reload
systemctl enable gotham.service
systemctl restart gotham.service
echo "gotham is running: systemctl status gotham"
