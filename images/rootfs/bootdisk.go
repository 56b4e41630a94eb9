package rootfs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/progress"
)

// BootLabel is the label of the boot disk's file system.
const BootLabel = "unwedge-boot"

// hmacKey is the fixed key of libkcapi's sha512hmac and of hmaccalc, with
// which distributions make the .vmlinuz-RELEASE.hmac file
// (libkcapi apps/kcapi-hasher.c, hmaccalc_hmackey).
const hmacKey = "FIPS-FTW-RHT2009"

// maxKernel bounds a kernel file, in bytes.
const maxKernel = 1 << 30

// BootOptions say what is wrong with a boot disk.
type BootOptions struct {
	// CorruptHMAC makes the kernel's checksum wrong, so that dracut must
	// refuse to boot.
	CorruptHMAC bool
}

// BootDisk returns a small ext4 image that stands for /boot of a FIPS system:
// the kernel file as vmlinuz-RELEASE and its checksum. dracut's 01fips mounts
// it (see Cmdline) and checks the one against the other.
func BootDisk(ctx context.Context, o Options, k Kernel, kernelFile string, b BootOptions) (string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return "", err
	}
	what := "boot disk for " + k.Release
	if err := k.check(); err != nil {
		return "", fmt.Errorf("build boot disk: %w", err)
	}
	sums, err := hashKernel(kernelFile)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", what, err)
	}
	const name = "boot.ext4"
	key := cache.Key{Kind: "boot", Inputs: []string{
		bootVersion, k.Release, sums.content, strconv.FormatBool(b.CorruptHMAC),
	}}
	dir, err := o.Store.Get(ctx, key, func(ctx context.Context, dir string) (err error) {
		task := progress.From(ctx).Task(what, 0)
		defer func() { task.Done(err) }()
		from, err := os.MkdirTemp(dir, "files-")
		if err != nil {
			return fmt.Errorf("build %s: %w", what, err)
		}
		defer os.RemoveAll(from)
		if err := fillBoot(from, kernelFile, k.Release, sums, b); err != nil {
			return fmt.Errorf("build %s: %w", what, err)
		}
		mib := (sums.size*21/20)>>20 + 4
		return makeExt4(ctx, task, filepath.Join(dir, name), from, BootLabel, strconv.FormatInt(mib, 10)+"M")
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

func fillBoot(dir, kernelFile, release string, sums kernelSums, b BootOptions) error {
	name := "vmlinuz-" + release
	in, err := os.Open(kernelFile)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(in, maxKernel))
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if n != sums.size {
		return fmt.Errorf("%s changed while it was read", kernelFile)
	}
	sum := sums.hmac
	if b.CorruptHMAC {
		sum = corrupt(sum)
	}
	// The name is relative: fips.sh checks in the directory of the file.
	return os.WriteFile(filepath.Join(dir, "."+name+".hmac"), []byte(sum+"  "+name+"\n"), 0o644)
}

// corrupt changes the first digit of a hexadecimal sum.
func corrupt(sum string) string {
	if sum[0] == '0' {
		return "1" + sum[1:]
	}
	return "0" + sum[1:]
}

type kernelSums struct {
	content, hmac string
	size          int64
}

func hashKernel(path string) (kernelSums, error) {
	f, err := os.Open(path)
	if err != nil {
		return kernelSums{}, err
	}
	defer f.Close()
	plain, keyed := sha256.New(), hmac.New(sha512.New, []byte(hmacKey))
	n, err := io.Copy(io.MultiWriter(plain, keyed), io.LimitReader(f, maxKernel+1))
	if err != nil {
		return kernelSums{}, fmt.Errorf("read %s: %w", path, err)
	}
	if n == 0 || n > maxKernel {
		return kernelSums{}, fmt.Errorf("read %s: %d bytes are not a kernel", path, n)
	}
	return kernelSums{hex.EncodeToString(plain.Sum(nil)), hex.EncodeToString(keyed.Sum(nil)), n}, nil
}
