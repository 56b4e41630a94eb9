#!/bin/sh
# usage: ci/compilers.sh [PACKAGE...]
# Installs what kernel modules are compiled with, for both architectures, and the
# packages named, where they are missing: as root on Debian and its kin. Elsewhere it says what is missing:
# specs of external modules are then skipped, and the score's module faults count
# as boots that failed.
set -eu

missing=
command -v make >/dev/null || missing=make
case "$(uname -m)" in
x86_64) cross=aarch64 ;;
aarch64) cross=x86_64 ;;
*) exit 0 ;;
esac
command -v gcc >/dev/null || missing="$missing gcc"
command -v $cross-linux-gnu-gcc >/dev/null || missing="$missing gcc-$(echo $cross | tr _ -)-linux-gnu"
# kbuild's objtool is linked with it
ldconfig -p 2>/dev/null | grep -q 'libelf\.so\.1' || missing="$missing libelf1"
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "compilers: not installed, so modules will not be built for every architecture:$missing" >&2
	exit 0
fi
echo "compilers: apt-get install --no-install-recommends$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null || true # stale lists may still do; the install says if not
# shellcheck disable=SC2086 # a list of packages
apt-get install -q -y --no-install-recommends $missing >/dev/null ||
	echo "compilers: the installation failed: modules will not be built for every architecture" >&2
