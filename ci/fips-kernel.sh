#!/bin/sh
# Builds a small kernel with CONFIG_CRYPTO_FIPS from a source tree, for the FIPS
# cells of a version whose packages lack it (Debian's 7.2 and 7.3).
# usage: ci/fips-kernel.sh TREE x86_64|arm64 OUT
#   apt-get install flex bison bc libelf-dev libssl-dev gcc-aarch64-linux-gnu
#   ci/fips-kernel.sh linux-source-7.3 arm64 build && unwedge matrix build
set -eu
[ $# -eq 3 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
tree=$1 arch=$2 out=$3
case $arch in
x86_64) cross='' image=bzImage ;;
arm64) cross=aarch64-linux-gnu- image=Image ;;
*) echo "$0: architecture $arch: use x86_64 or arm64" >&2; exit 2 ;;
esac
mkdir -p "$out"
out=$(cd "$out" && pwd)
kmake() { make -C "$tree" ARCH="$arch" CROSS_COMPILE="$cross" O="$out" "$@"; }

kmake defconfig >/dev/null
off="ATA AUDIT BLK_DEV_NVME BT BTRFS_FS DRM ETHERNET EXTCON FB HID I2C IIO INFINIBAND KVM MEDIA_SUPPORT MFD_SYSCON
MMC MTD NETFILTER NFSD NFS_FS NVME_CORE PHYLIB POWER_SUPPLY REMOTEPROC SCSI SECURITY_SELINUX SOUND SPI STAGING THERMAL
USB_SUPPORT WIRELESS WLAN XEN XFS_FS"
if [ "$arch" = arm64 ]; then # the SoC families: the guest is a virtual machine
	off="$off $(sed -n 's/^config \(ARCH_[A-Z0-9_]*\)$/\1/p' "$tree/arch/arm64/Kconfig.platforms" | tr '\n' ' ')"
fi
{
	for option in $off; do echo "# CONFIG_$option is not set"; done
	cat <<-'FRAGMENT'
		CONFIG_EXPERT=y
		CONFIG_CRYPTO_SELFTESTS=y
		CONFIG_CRYPTO_DRBG=y
		CONFIG_CRYPTO_DRBG_MENU=y
		CONFIG_CRYPTO_JITTERENTROPY=y
		CONFIG_CRYPTO_FIPS=y
		CONFIG_CRYPTO_BENCHMARK=m
		CONFIG_CRYPTO_SHA512=y
		CONFIG_CRYPTO_HMAC=y
		CONFIG_MODULE_SIG=y
		CONFIG_MODULE_SIG_ALL=y
		CONFIG_SYSTEM_TRUSTED_KEYS=""
		CONFIG_HYPERVISOR_GUEST=y
		CONFIG_OVERLAY_FS=m
		CONFIG_PVH=y
		CONFIG_VIRTIO_PCI=y
		CONFIG_VIRTIO_BLK=y
		CONFIG_VIRTIO_CONSOLE=y
		CONFIG_HW_RANDOM_VIRTIO=m
		CONFIG_EXT4_FS=y
		CONFIG_IKCONFIG=n
		CONFIG_KALLSYMS_ALL=y
		CONFIG_MAGIC_SYSRQ=y
		CONFIG_DEBUG_INFO_NONE=y
	FRAGMENT
} >"$out/unwedge.fragment"
(cd "$tree" && scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" "$out/unwedge.fragment" >/dev/null)
kmake olddefconfig >/dev/null
# What is still a module is not needed, but for crypto, the hwrng and overlayfs.
sed -i -E '/^CONFIG_(CRYPTO|HW_RANDOM_VIRTIO|OVERLAY)/!s/^(CONFIG_[A-Z0-9_]+)=m$/# \1 is not set/' "$out/.config"
kmake olddefconfig >/dev/null
grep -q '^CONFIG_CRYPTO_FIPS=y' "$out/.config" || { echo "$0: this version's options do not allow CONFIG_CRYPTO_FIPS" >&2; exit 1; }
kmake -j"$(nproc)" "$image" modules
