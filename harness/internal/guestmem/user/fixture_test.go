package user_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// fixture is a program with a library whose constructor calls getrandom, and
// what it needs: files by their path in the guest.
func fixture(t *testing.T, a arch.Arch) map[string][]byte {
	t.Helper()
	gcc, loader := "x86_64-linux-gnu-gcc", "/lib64/ld-linux-x86-64.so.2"
	if a == arch.AArch64 {
		gcc, loader = "aarch64-linux-gnu-gcc", "/lib/ld-linux-aarch64.so.1"
	}
	if _, err := exec.LookPath(gcc); errors.Is(err, exec.ErrNotFound) {
		t.Skipf("no %s to build the fixture with", gcc)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), gcc, args...).CombinedOutput()
		if err != nil {
			t.Skipf("%s %s: %v\n%s", gcc, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	dir := t.TempDir()
	libc, ld := run("-print-file-name=libc.so.6"), run("-print-file-name="+path.Base(loader))
	lib, prog := filepath.Join(dir, "libfixture.so.1"), filepath.Join(dir, "fixture")
	run("-O2", "-nostdlib", "-shared", "-fPIC", "-Wl,-soname,libfixture.so.1", "-Wl,--build-id=sha1",
		"-o", lib, filepath.Join("testdata", "fixture", "library.c"), libc)
	run("-O2", "-nostdlib", "-pie", "-fPIE", "-Wl,-rpath-link,"+filepath.Dir(libc),
		"-o", prog, filepath.Join("testdata", "fixture", "program.c"), lib, libc)
	files := map[string][]byte{}
	for to, from := range map[string]string{"/fixture": prog, "/lib/libfixture.so.1": lib, "/lib/libc.so.6": libc, loader: ld} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Skipf("the compiler's C library: %v", err)
		}
		files[to] = b
	}
	return files
}

// appended is an initramfs with files added. The kernel unpacks one archive
// after the other.
func appended(t *testing.T, initrd []byte, files map[string][]byte) []byte {
	t.Helper()
	buf := bytes.NewBuffer(initrd)
	for buf.Len()%512 != 0 {
		buf.WriteByte(0)
	}
	w := cpio.NewWriter(buf)
	add := func(name string, mode cpio.FileMode, data []byte) {
		if err := w.WriteHeader(&cpio.Header{Name: name, Mode: mode | 0o755, Links: 1, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add("lib", cpio.TypeDir, nil)
	add("lib64", cpio.TypeDir, nil)
	for name, data := range files {
		add(name[1:], cpio.TypeReg, data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
