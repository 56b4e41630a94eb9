#!/bin/sh
# usage: ci/dist-test.sh MAKE DIST RELEASE...
# Builds the packages twice and compares them, byte for byte. Then, for each Debian
# release, runs dist-inside.sh in a fresh root. As root: it makes roots and mounts.
set -eu
make=$1 dist=$2
shift 2
arch=$(dpkg --print-architecture)

$make --no-print-directory dist DIST="$dist"
$make --no-print-directory dist DIST="$dist.again"
diff -r "$dist" "$dist.again"
rm -rf "$dist.again"
(cd "$dist" && sha256sum --quiet -c SHA256SUMS)
echo "dist-test: built twice, the same bytes"

top=$(mktemp -d)
trap 'rm -rf --one-file-system "$top"' EXIT
trap 'exit 130' INT TERM
for release in "$@"; do
	root=$top/$release
	mmdebstrap --quiet --variant=apt --include=ca-certificates "$release" "$root" "${UNWEDGE_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
	cp "$dist"/unwedge_*_"$arch".deb "$root/root/unwedge.deb"
	cp ci/dist-inside.sh "$root/root/"
	cp -L /etc/resolv.conf "$root/etc/"
	# The mounts and whatever runs end with the namespaces.
	unshare --mount --fork --pid --kill-child sh -eu -c '
		mount --rbind /dev "$1/dev"
		mount -t proc proc "$1/proc"
		shift
		exec chroot "$@"
	' sh "$root" "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb DEBIAN_FRONTEND=noninteractive \
		sh /root/dist-inside.sh /root/unwedge.deb "deb:linux-image-cloud-$arch@bookworm"
	rm -rf --one-file-system "$root"
	echo "dist-test: $release: installed, booted, removed"
done
