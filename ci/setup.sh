#!/bin/sh
# Installs what unwedge needs and is missing: as root on Debian and its kin.
# Elsewhere it installs nothing and shows the doctor's advice instead.
# usage: ci/setup.sh PATH-TO-UNWEDGE
set -eu
unwedge=$1

command=$("$unwedge" doctor --command)
[ -n "$command" ] || exit 0

case "$command" in
apt-get\ *)
	echo "setup: $command" >&2
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q >/dev/null || true # stale lists may still do; the install says if not
	$command >/dev/null
	;;
*)
	"$unwedge" doctor || true
	echo "setup: nothing was installed: run the command above, then try again" >&2
	exit 3
	;;
esac

left=$("$unwedge" doctor --command)
[ -z "$left" ] || { echo "setup: still missing after the installation: $left" >&2; exit 3; }
