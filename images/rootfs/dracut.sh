# Runs as PID 1 of namespaces of its own (see contain.go), so that all it mounts and
# starts is gone when it ends, however it ends. It needs no root outside of them.
#
#   dracut.sh check
#   dracut.sh build NATIVE TREE WORK MODULES RELEASE HELPER HMAC OUT -- DRACUT-ARGUMENT...
#
# dracut of the tree NATIVE, whose programs this machine runs, collects what is in TREE,
# which may be of another architecture.
set -eu

die() { echo "E: $*" >&2; exit 1; }

# layer DIR FROM: DIR shows the tree FROM; what is written there stays in the namespace.
layer() {
	n=$(basename "$1").layer
	mkdir -p "$1" "$n.lower" "$n.upper" "$n.work"
	mount --bind "$2" "$n.lower"
	# userxattr: Linux since 5.11, which is when overlayfs came to user namespaces
	mount -t overlay -o "lowerdir=$n.lower,upperdir=$n.upper,workdir=$n.work,userxattr" overlay "$1" 2>/dev/null ||
		cp -a "$n.lower/." "$1"
}

mount --make-rprivate / || die "cannot mount in a namespace of its own (in a chroot: mount --bind its root on itself first)"
mount -t proc proc /proc || die "cannot mount /proc in a namespace of its own"
[ "$1" != check ] || exit 0
[ "$1" = build ] || die "unknown verb $1"

native=$2 tree=$3 work=$4 modules=$5 release=$6 helper=$7 hmac=$8 out=$9
shift 10
mount -t tmpfs tmpfs "$work" || die "cannot mount a tmpfs in a namespace of its own"
cd "$work"
layer root "$native"
layer root/sysroot "$tree"
layer "root/sysroot/usr/lib/modules/$release" "$modules"
# Links from lib/modules/RELEASE into the kernel's build tree lead nowhere here.
rm -f "root/sysroot/usr/lib/modules/$release/build" "root/sysroot/usr/lib/modules/$release/source"
mount -t proc proc root/proc
mount -t tmpfs -o mode=755 tmpfs root/dev
for node in null zero full random urandom; do
	: >root/dev/$node
	mount --bind /dev/$node root/dev/$node
done
ln -s /proc/self/fd root/dev/fd
mkdir root/unwedge
for name in ldd ldconfig; do
	cp "$helper" root/unwedge/$name
	chmod 755 root/unwedge/$name
done
if [ -n "$hmac" ]; then
	cp "$hmac" root/sysroot/usr/bin/sha512hmac
	chmod 755 root/sysroot/usr/bin/sha512hmac
	: >root/sysroot/etc/system-fips
	: >root/etc/system-fips # where dracut 059 looks, whatever --sysroot says
fi
# With --sysroot dracut takes a directory that nobody has named for one that is there:
# [[ -d $dracutsysrootdir$udevdir ]].
sed -i -E 's/\[\[ -d "?\$dracutsysrootdir\$([a-z]+)"? \]\]/[[ $\1 \&\& -d $dracutsysrootdir$\1 ]]/' root/usr/bin/dracut

inside="chroot root /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C DRACUT_ARCH=$DRACUT_ARCH DRACUT_NO_XATTR=1
	DRACUT_LDD=/unwedge/ldd DRACUT_LDCONFIG=/unwedge/ldconfig LDD_ROOT=/sysroot dracutbasedir=/usr/lib/dracut"
$inside /sbin/depmod -b /sysroot "$release"
$inside /usr/bin/dracut --sysroot /sysroot "$@" /initramfs.img </dev/null
[ -s root/initramfs.img ] || die "dracut made no image"
cp root/initramfs.img "$out"
