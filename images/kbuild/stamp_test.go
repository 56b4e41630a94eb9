package kbuild

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A configuration is made anew when anything that decides it has changed, and only
// then.
func TestConfiguringAnew(t *testing.T) {
	const options = "CONFIG_64BIT\nCONFIG_OLD\nCONFIG_MORE\n"
	past := time.Now().Add(-time.Hour)
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, past, past); err != nil { // a digest tells, not the time
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, s *Spec)
		anew   bool
	}{
		{"nothing", func(*testing.T, *Spec) {}, false},
		{"code", func(t *testing.T, s *Spec) { write(t, s.Source+"/init/main.c", "int x;") }, false},
		{"document", func(t *testing.T, s *Spec) { write(t, s.Source+"/Documentation/x.rst", "x") }, false},
		{"Kconfig", func(t *testing.T, s *Spec) { write(t, s.Source+"/lib/Kconfig", "config NEEDY\n\tbool\n") }, true},
		{"Kconfig is gone", func(_ *testing.T, s *Spec) { os.Remove(s.Source + "/lib/Kconfig") }, true},
		{"Kconfig's reader", func(t *testing.T, s *Spec) { write(t, s.Source+"/scripts/kconfig/conf", "x") }, true},
		{"script", func(t *testing.T, s *Spec) { write(t, s.Source+"/scripts/new.sh", "x") }, true},
		{"defaults", func(t *testing.T, s *Spec) { write(t, s.Source+"/kernel/configs/tiny.config", "x") }, true},
		{"Makefile", func(t *testing.T, s *Spec) { write(t, s.Source+"/Makefile", fakeMakefile+"\n# more\n") }, true},
		{"what Kconfig asks about", func(t *testing.T, s *Spec) { write(t, s.Source+"/lib/has.sh", "exit 1") }, true},
		{"begins with another target", func(_ *testing.T, s *Spec) { s.Config = "tinyconfig" }, true},
		{"fragment", func(_ *testing.T, s *Spec) {
			s.Fragments = []Fragment{{Settings: []Setting{{Name: "CONFIG_MORE", Value: "y"}}}}
		}, true},
		{".config by hand", func(t *testing.T, s *Spec) { write(t, s.Output+"/.config", "CONFIG_64BIT=y\nCONFIG_MORE=y\n") }, true},
		{"environment", func(t *testing.T, _ *Spec) { t.Setenv("LD_LIBRARY_PATH", t.TempDir()) }, true},
		{"program", func(t *testing.T, _ *Spec) {
			dir := t.TempDir()
			write(t, dir+"/rustc", "#!/bin/sh\n")
			path := os.Getenv("PATH")
			t.Setenv("PATH", dir+":"+path)
		}, true},
		{"a build that failed since it was configured", func(t *testing.T, s *Spec) {
			write(t, s.Source+"/lib/Kconfig", "config OTHER\n\tbool\n")
			write(t, s.Source+"/compile", "exit 1")
			if _, err := Build(t.Context(), *s); err == nil {
				t.Fatal("built")
			}
			write(t, s.Source+"/compile", "")
		}, true},
		{"a tree that Kconfig looks into", func(t *testing.T, s *Spec) {
			write(t, s.Source+"/lib/Kconfig", "config A\n\tdef_bool $(success,ls $(srctree)/lib)\n")
			if _, err := Build(t.Context(), *s); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"edited while it is built", func(t *testing.T, s *Spec) {
			write(t, s.Source+"/lib/Kconfig", "config LATE\n\tbool\n")
			write(t, s.Source+"/compile", "echo >> lib/Kconfig")
			if _, err := Build(t.Context(), *s); err != nil {
				t.Fatal(err)
			}
			write(t, s.Source+"/compile", "")
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := fakeTree(t, options, "")
			write(t, s.Source+"/Kconfig", "source \"lib/Kconfig\"\nconfig HAS\n\tdef_bool $(success,$(srctree)/lib/has.sh $(CC))\n")
			write(t, s.Source+"/lib/has.sh", "exit 0")
			if _, err := Build(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			tc.change(t, &s)
			before := configurations(t, s)
			b, err := Build(t.Context(), s)
			if err != nil && tc.name != "Kconfig is gone" {
				t.Fatal(err)
			}
			if anew := configurations(t, s) != before; anew != tc.anew {
				t.Errorf("configured anew: %v, built %+v", anew, b)
			}
		})
	}
}

// configurations is how often a fake tree has been configured.
func configurations(t *testing.T, s Spec) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(s.Output, "configured"))
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}
