package toolchain

import (
	"context"
	"fmt"
	"os"

	"github.com/unwedge/unwedge/images/kernel"
)

// packers are the programs that pack a kernel or its initramfs, by the option that
// asks for it (scripts/Makefile.lib).
var packers = map[string]string{
	"CONFIG_KERNEL_GZIP": "gzip", "CONFIG_KERNEL_BZIP2": "bzip2", "CONFIG_KERNEL_LZMA": "lzma", "CONFIG_KERNEL_XZ": "xz",
	"CONFIG_KERNEL_LZO": "lzop", "CONFIG_KERNEL_LZ4": "lz4", "CONFIG_KERNEL_ZSTD": "zstd",
}

// configured looks for what only a configuration asks for.
func (c *checker) configured(ctx context.Context) error {
	if _, err := os.Stat(c.Config); c.Config == "" || err != nil {
		return nil
	}
	k, err := kernel.ReadConfig(c.Config)
	if err != nil {
		return err
	}
	on := func(names ...string) bool {
		for _, n := range names {
			if k.Get(n) == "y" {
				return true
			}
		}
		return false
	}
	var programs []string
	for option, tool := range packers {
		if on(option) {
			programs = append(programs, tool)
		}
	}
	if on("CONFIG_DEBUG_INFO_BTF") {
		programs = append(programs, "pahole")
	}
	if on("CONFIG_IKHEADERS") {
		programs = append(programs, "cpio", "tar")
	}
	if on("CONFIG_MODULE_SIG", "CONFIG_IMA_APPRAISE_MODSIG") {
		programs = append(programs, "openssl")
	}
	for _, p := range programs {
		if !there(p) {
			c.found(p, notInstalled)
		}
	}
	if on("CONFIG_OBJTOOL", "CONFIG_STACK_VALIDATION", "CONFIG_UNWINDER_ORC", "CONFIG_DEBUG_INFO_BTF") {
		if err := c.header(ctx, "gelf.h"); err != nil {
			return err
		}
	}
	if on("CONFIG_MODULE_SIG", "CONFIG_SYSTEM_TRUSTED_KEYRING", "CONFIG_MODULE_SIG_FORMAT") {
		if err := c.header(ctx, "openssl/opensslv.h"); err != nil {
			return err
		}
	}
	return c.pahole(ctx, on("CONFIG_DEBUG_INFO_BTF"))
}

// pahole is old on many hosts, and a kernel's link fails at its very end then.
func (c *checker) pahole(ctx context.Context, needed bool) error {
	if !needed || c.Source == "" || !there("pahole") {
		return nil
	}
	wants, err := requirements(c.Source, c.Arch)
	if err != nil {
		return err
	}
	out, err := c.run(ctx, "pahole", "--version")
	want, known := wants["pahole"]
	if have := versionIn(out); err == nil && known && have != "" && older(have, want.minimum) {
		c.foundAs(Old, "pahole", fmt.Sprintf("version %s is too old: this tree needs %s or later (%s)", have, want.minimum, want.where))
	}
	return nil
}
