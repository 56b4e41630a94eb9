package tiny_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/images/modules"
	"github.com/unwedge/unwedge/images/tiny"
)

func members(t *testing.T, b []byte) (names []string, data map[string]string) {
	t.Helper()
	data = map[string]string{}
	r := cpio.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, data
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		data[h.Name] = string(content)
	}
}

func TestBuildPutsDirectoriesBeforeTheirFiles(t *testing.T) {
	o := tiny.Options{
		Agent: []byte("agent"), Busybox: []byte("busybox"), Release: "6.1.0",
		Modules: []tiny.Module{{Path: "kernel/a/x.ko", Data: []byte("x")}, {Path: "kernel/a/y.ko", Data: []byte("y")}},
		Files:   map[string][]byte{"/etc/deep/er/file": []byte("f")},
	}
	b, err := tiny.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	names, data := members(t, b)
	seen := map[string]bool{".": true}
	for _, n := range names {
		if seen[n] {
			t.Errorf("%s is there twice", n)
		}
		if !seen[filepath.Dir(n)] {
			t.Errorf("%s comes before its directory", n)
		}
		seen[n] = true
	}
	want := map[string]string{
		"init": "agent", "bin/busybox": "busybox", "etc/deep/er/file": "f",
		"etc/unwedge/modules":             "/lib/modules/6.1.0/kernel/a/x.ko\n/lib/modules/6.1.0/kernel/a/y.ko\n",
		"lib/modules/6.1.0/kernel/a/y.ko": "y",
	}
	for n, w := range want {
		if data[n] != w {
			t.Errorf("%s holds %q, want %q", n, data[n], w)
		}
	}
	again, err := tiny.Build(o)
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("the same options gave other bytes (%v)", err)
	}
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []string{"virtio", "virtio_ring", "virtio-rng", "rng-core"} {
		write("kernel/"+m+".ko", m)
	}
	write("modules.builtin", "kernel/drivers/virtio/virtio_pci.ko\n")
	write("modules.dep", "kernel/virtio-rng.ko: kernel/rng-core.ko kernel/virtio.ko kernel/virtio_ring.ko\nkernel/virtio.ko: kernel/virtio_ring.ko\nkernel/virtio_ring.ko:\nkernel/rng-core.ko:\n")
	set, err := modules.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	mods, missing, err := tiny.Collect(set, []string{"virtio_rng", "virtio_pci", "no_such"})
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, m := range mods {
		at[string(m.Data)] = i
	}
	if len(mods) != 4 || at["virtio"] < at["virtio_ring"] || at["virtio-rng"] != 3 {
		t.Errorf("load order %v", at)
	}
	if len(missing) != 1 || missing[0] != "no_such" {
		t.Errorf("missing %v, want no_such alone: virtio_pci is built in", missing)
	}
}
