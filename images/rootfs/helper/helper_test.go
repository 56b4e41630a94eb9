package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Sums made with `openssl dgst -sha512 -hmac FIPS-FTW-RHT2009`.
const (
	sumEmpty  = "addfd542e05fcfd134bb39e3bacc83551a7ec1fed615570195490aa27181a7aa5d846135d68252d2222c891653154c77f29961d4b0fb540a15a1174f4a563bc2"
	sumKernel = "dc5670907a73b2675e5d62fef5eacc2028211ac64ca6790949e0e850133c266c19f02f2320eacb5806df0c49a3d66a3d9b0ff6ea4ce9cb82af330c2cf057d3bc"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHMACPrintsTheKnownSums(t *testing.T) {
	dir := t.TempDir()
	empty, kernel := write(t, dir, "empty", ""), write(t, dir, "kernel", "kernel\n")
	var out, errOut bytes.Buffer
	if status := hmacMain([]string{empty, kernel}, &out, &errOut); status != 0 {
		t.Fatalf("status %d: %s", status, &errOut)
	}
	want := sumEmpty + "  " + empty + "\n" + sumKernel + "  " + kernel + "\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestHMACCheck(t *testing.T) {
	for name, c := range map[string]struct {
		check  string
		status int
	}{
		"right":                  {sumKernel + "  vmlinuz\n", 0},
		"right, upper case":      {strings.ToUpper(sumKernel) + "  vmlinuz\n", 0},
		"right, binary mark":     {sumKernel + " *vmlinuz\n", 0},
		"wrong sum":              {"0" + sumKernel[1:] + "  vmlinuz\n", 1},
		"sum of another file":    {sumEmpty + "  vmlinuz\n", 1},
		"short sum":              {sumKernel[:127] + "  vmlinuz\n", 1},
		"no name":                {sumKernel + "\n", 1},
		"no such file":           {sumKernel + "  vmlinux\n", 1},
		"empty":                  {"", 1},
		"right, then wrong":      {sumKernel + "  vmlinuz\n" + sumEmpty + "  vmlinuz\n", 1},
		"right, then a bad line": {sumKernel + "  vmlinuz\ngarbage\n", 1},
		"one endless line":       {strings.Repeat("a", 1<<17), 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "vmlinuz", "kernel\n")
			check := write(t, dir, ".vmlinuz.hmac", c.check)
			t.Chdir(dir)
			var out, errOut bytes.Buffer
			if got := hmacMain([]string{"-c", check}, &out, &errOut); got != c.status {
				t.Errorf("status %d, want %d: %s%s", got, c.status, &out, &errOut)
			}
		})
	}
}

func TestHMACRefusesBadArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"-c"}, {"--nonsense"}, {"-c", "/no/such/file"}, {"/no/such/file"}} {
		var out, errOut bytes.Buffer
		if got := hmacMain(args, &out, &errOut); got == 0 {
			t.Errorf("%q: status 0", args)
		}
		if errOut.Len() == 0 {
			t.Errorf("%q: no message", args)
		}
	}
}

var resolved = regexp.MustCompile(`=> (/\S+)`)

// The oracle is the host's ldd, which asks the dynamic loader.
func TestLddAgreesWithTheLoader(t *testing.T) {
	real, err := exec.LookPath("ldd")
	if err != nil {
		t.Skip("ldd is not installed")
	}
	var tested int
	for _, name := range []string{"/bin/sh", "/bin/bash", "/usr/lib/systemd/systemd", "/usr/bin/perl", "/usr/bin/git", "/usr/sbin/mke2fs"} {
		want, err := exec.Command(real, name).Output()
		if err != nil {
			continue
		}
		tested++
		var out, errOut bytes.Buffer
		if status := lddMain([]string{name}, "/", &out, &errOut); status != 0 {
			t.Errorf("%s: status %d: %s", name, status, &errOut)
		}
		if d := cmp.Diff(libraries(t, want), libraries(t, out.Bytes())); d != "" {
			t.Errorf("%s (-loader +ours):\n%s", name, d)
		}
	}
	if tested == 0 {
		t.Skip("no dynamically linked program to compare with")
	}
}

// libraries returns the files of ldd's output, with /lib and /usr/lib made
// equal, because the loader may name either of merged directories.
func libraries(t *testing.T, out []byte) []string {
	t.Helper()
	var all []string
	for _, m := range resolved.FindAllSubmatch(out, -1) {
		path, err := filepath.EvalSymlinks(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, path)
	}
	slices.Sort(all)
	return all
}

func TestLddOfAStaticProgramOrNone(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"script": "#!/bin/sh\n", "empty": "", "torn": "\x7fELF\x02\x01\x01", "magic": "\x7fELF",
	} {
		var out, errOut bytes.Buffer
		status := lddMain([]string{write(t, dir, name, text)}, "/", &out, &errOut)
		if status != 1 || !strings.Contains(out.String(), "not a dynamic executable") {
			t.Errorf("%s: status %d, %q %q", name, status, &out, &errOut)
		}
	}
	var out, errOut bytes.Buffer
	if lddMain([]string{filepath.Join(dir, "absent")}, "/", &out, &errOut) != 1 || errOut.Len() == 0 {
		t.Errorf("absent file: %q %q", &out, &errOut)
	}
}

func TestUnderStaysInsideTheRoot(t *testing.T) {
	root := t.TempDir()
	write(t, root, "usr/lib/libc.so.6", "x")
	for name, target := range map[string]string{"lib": "usr/lib", "abs": "/usr/lib", "up": "../../../usr/lib", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := filepath.Join(root, "usr/lib/libc.so.6")
	for _, path := range []string{"/lib/libc.so.6", "/abs/libc.so.6", "/up/libc.so.6", "/../lib/libc.so.6"} {
		got, err := under(root, path)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := under(root, "/loop/x"); err == nil {
		t.Error("a loop of links was followed")
	}
}

// What dracut asks of ldconfig and ldd where another root is collected: names in there.
func TestAnotherRoot(t *testing.T) {
	root := t.TempDir()
	program, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skip("no program to look at")
	}
	write(t, root, "etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")
	write(t, root, "etc/ld.so.conf.d/demo.conf", "/usr/lib/demo-linux-gnu\n/no/such\n")
	write(t, root, "usr/lib/demo-linux-gnu/libdemo.so.1", "x")
	write(t, root, "usr/bin/sh", string(program))
	var out, errOut bytes.Buffer
	if ldconfigMain([]string{"-r", root, "-f", "/etc/ld.so.conf", "-pN"}, &out) != 0 ||
		out.String() != "\tlibdemo.so.1 (libc6) => /usr/lib/demo-linux-gnu/libdemo.so.1\n" {
		t.Errorf("directories: %q", &out)
	}
	out.Reset()
	if ldconfigMain([]string{"-r", root}, &out) != 0 || out.Len() != 0 {
		t.Errorf("without -p: %q", &out)
	}
	lddMain([]string{root + "/usr/bin/sh"}, root, &out, &errOut)
	if strings.Contains(out.String(), root) || errOut.Len() != 0 || !strings.Contains(out.String(), " => not found") {
		t.Errorf("ldd: %q %q", &out, &errOut)
	}
}

func TestRoleIsTakenFromTheName(t *testing.T) {
	if got := run([]string{"/x/other"}); got != 2 {
		t.Errorf("status %d, want 2", got)
	}
	if got := run([]string{"/usr/bin/sha512hmac", "/no/such/file"}); got != 1 {
		t.Errorf("status %d, want 1", got)
	}
}
