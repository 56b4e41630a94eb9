#!/bin/sh
# usage: ci/dist-test.sh MAKE GO DIST RELEASE...
# Builds the packages twice and compares them, byte for byte. Then, for each Debian
# release, runs dist-inside.sh in a fresh root, and at last the shell steps of each CI
# template in a fresh root of the image that it names. As root: it makes roots and mounts.
set -eu
make=$1 go=$2 dist=$3
shift 3
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

# fresh RELEASE makes $root, with the package and the scripts that run there in its /root.
fresh() {
	root=$top/root
	rm -rf --one-file-system "$root"
	mmdebstrap --quiet --variant=apt --include=ca-certificates "$1" "$root" "${UNWEDGE_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
	cp "$dist"/unwedge_*_"$arch".deb "$root/root/unwedge.deb"
	cp ci/dist-inside.sh ci/template-inside.sh "$root/root/"
	cp -L /etc/resolv.conf "$root/etc/"
}

# inside COMMAND... runs it in $root, which is a mount as a container's is. The mounts and
# whatever runs end with the namespaces.
inside() {
	unshare --mount --fork --pid --kill-child sh -eu -c '
		mount --bind "$1" "$1"
		mount --rbind /dev "$1/dev"
		mount -t proc proc "$1/proc"
		shift
		exec chroot "$@"
	' sh "$root" "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb DEBIAN_FRONTEND=noninteractive "$@"
}

for release in "$@"; do
	fresh "$release"
	inside sh /root/dist-inside.sh /root/unwedge.deb "deb:linux-image-cloud-$arch@bookworm"
	echo "dist-test: $release: installed, booted, removed"
done
for template in ci/templates/*.yml; do
	image=$($go run ./ci/steps -image "$template")
	fresh "${image#debian:}"
	$go run ./ci/steps "$template" >"$root/root/steps.sh"
	inside sh /root/template-inside.sh /root/unwedge.deb /root/steps.sh "linux-image-cloud-$arch"
	echo "dist-test: $template: its steps passed"
done
