package candidate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// headersIn makes a directory that modules can be built with, but for what is
// left out.
func headersIn(t *testing.T, dir, config string, without ...string) string {
	t.Helper()
	for name, text := range map[string]string{"Makefile": "", "include/generated/autoconf.h": "", ".config": config} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range without {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindHeaders(t *testing.T) {
	const x86 = "CONFIG_X86_64=y\n"
	good := headersIn(t, t.TempDir(), x86)
	installed := t.TempDir() // lib/modules/RELEASE
	if err := os.Symlink(good, filepath.Join(installed, "build")); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		c    Candidate
		want string // the directory, or part of the error
	}{
		"named":                   {Candidate{HeadersDir: good, Origin: "/nowhere"}, good},
		"a build tree":            {Candidate{Origin: good}, good},
		"an installed kernel":     {Candidate{Origin: "/boot/vmlinuz", ModulesDir: installed}, good},
		"a bare file":             {Candidate{Origin: "/boot/vmlinuz"}, "it came without headers"},
		"modules without headers": {Candidate{Origin: "/boot/vmlinuz", ModulesDir: t.TempDir()}, "it came without headers"},
		"not built":               {Candidate{HeadersDir: headersIn(t, t.TempDir(), x86, "include/generated/autoconf.h")}, "is the kernel built there?"},
		"another architecture":    {Candidate{HeadersDir: headersIn(t, t.TempDir(), "CONFIG_ARM64=y\n")}, "without CONFIG_X86_64"},
	} {
		tt.c.Kernel = &kernel.Kernel{Release: "6.1.0", Arch: arch.X86_64}
		h, err := tt.c.FindHeaders(t.Context(), Options{})
		if err == nil {
			if h.Dir != tt.want || h.ID != "" {
				t.Errorf("%s: %+v", name, h)
			}
			continue
		}
		var none *NotFoundError
		if !errors.As(err, &none) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
