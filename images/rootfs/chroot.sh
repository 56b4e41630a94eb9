# Runs as PID 1 of private mount and PID namespaces (see contain.go), so that
# all it mounts and starts is gone when it ends, however it ends.
#
#   chroot.sh ldconfig TREE
#   chroot.sh dracut TREE WORK MODULES RELEASE LDD HMAC OUT -- DRACUT-ARGUMENT...
#
# EMULATOR and REGISTRATION are set for a foreign architecture.
set -eu

die() { echo "E: $*" >&2; exit 1; }

# emulate makes the kernel run the tree's programs through EMULATOR. Since
# Linux 6.7 a registration goes when the last mount of binfmt_misc does, so it
# is mounted here even where another build's registration already serves: that
# build may end first.
emulate() {
	if [ -n "${EMULATOR:-}" ]; then
		misc=/proc/sys/fs/binfmt_misc
		[ -e $misc/register ] || mount -t binfmt_misc binfmt_misc $misc 2>/dev/null ||
			die "cannot mount binfmt_misc on $misc: load the kernel module binfmt_misc, and run as root outside of a restricted container"
	fi
	chroot "$1" /bin/true 2>/dev/null && return
	[ -n "${EMULATOR:-}" ] || die "cannot run the programs of $1 on this machine"
	# Another build may register it at the same moment: what counts is that it runs.
	printf '%s' "$REGISTRATION" >$misc/register 2>/dev/null || true
	chroot "$1" /bin/true || die "cannot run the programs of $1 through $EMULATOR: register it with $misc"
}

# populate gives a root what programs expect to find mounted.
populate() {
	mount -t proc proc "$1/proc"
	mount -t tmpfs -o mode=755 tmpfs "$1/dev"
	for node in null zero full random urandom; do
		: >"$1/dev/$node"
		mount --bind /dev/$node "$1/dev/$node"
	done
	ln -s /proc/self/fd "$1/dev/fd"
}

verb=$1 tree=$2
shift 2
case $verb in
ldconfig)
	emulate "$tree"
	exec chroot "$tree" /sbin/ldconfig
	;;
dracut)
	work=$1 modules=$2 release=$3 ldd=$4 hmac=$5 out=$6
	shift 7
	mount -t tmpfs tmpfs "$work"
	cd "$work"
	mkdir upper work root mupper mwork
	mount -t overlay -o lowerdir="$tree",upperdir=upper,workdir=work overlay root
	mkdir -p "root/lib/modules/$release"
	mount -t overlay -o lowerdir="$modules",upperdir=mupper,workdir=mwork overlay "root/lib/modules/$release"
	# Links from lib/modules/RELEASE into the kernel's build tree lead nowhere here.
	rm -f "root/lib/modules/$release/build" "root/lib/modules/$release/source"
	populate root
	emulate root
	mkdir -p root/unwedge
	cp "$ldd" root/unwedge/ldd
	chmod 755 root/unwedge/ldd
	if [ -n "$hmac" ]; then
		cp "$hmac" root/usr/bin/sha512hmac
		chmod 755 root/usr/bin/sha512hmac
		: >root/etc/system-fips
	fi
	inside="chroot root /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C DRACUT_LDD=/unwedge/ldd DRACUT_NO_XATTR=1"
	$inside /sbin/depmod "$release"
	$inside /usr/bin/dracut "$@" /initramfs.img </dev/null
	[ -s root/initramfs.img ] || die "dracut made no image"
	cp root/initramfs.img "$out"
	;;
*)
	die "unknown verb $verb"
	;;
esac
