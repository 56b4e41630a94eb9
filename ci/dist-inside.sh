#!/bin/sh
# usage: dist-inside.sh PACKAGE KERNEL
# Runs in a fresh Debian root, as its only user would: installs the package, boots,
# reads the manual, removes the package.
set -eu
package=$1 kernel=$2

apt-get update -q >/dev/null
apt-get install -y -q man-db bash-completion "$package" >/root/install.log 2>&1 || { tail -n 20 /root/install.log; exit 1; }

unwedge --version
left=$(unwedge doctor --command)
[ -z "$left" ] || { echo "dist-test: still missing after the installation: $left"; exit 1; }
unwedge boot -s tiny "$kernel"
man unwedge-boot | grep -q -- --scenario || { echo "dist-test: no manual"; exit 1; }
# what a shell does for: unwedge bo<TAB>
unwedge __complete bo 2>/dev/null | grep -q ^boot || { echo "dist-test: completes nothing"; exit 1; }
for f in bash-completion/completions/unwedge zsh/vendor-completions/_unwedge fish/vendor_completions.d/unwedge.fish; do
	[ -s "/usr/share/$f" ] || { echo "dist-test: no /usr/share/$f"; exit 1; }
done

apt-get purge -y -q unwedge >/dev/null
find / -xdev \( -path /proc -o -path /dev -o -path /root -o -path /var/lib/dpkg -o -path /var/cache/apt -o -path /var/log -o -path /var/cache/man \) -prune -o -name '*unwedge*' -print >/root/left
[ ! -s /root/left ] || { echo "dist-test: left behind:"; cat /root/left; exit 1; }
