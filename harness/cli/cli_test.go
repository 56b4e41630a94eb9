package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/goleak"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ran is what a command line left.
type ran struct {
	code           int
	stdout, stderr string
}

// isolated gives the test a cache, a state directory and a home of its own, and
// no programs.
func isolated(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("UNWEDGE_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("UNWEDGE_STATE", filepath.Join(dir, "state"))
	t.Setenv("HOME", dir)
	t.Setenv("PATH", filepath.Join(dir, "bin")) // nothing that is wrong may start a QEMU
	t.Chdir(dir)
	return dir
}

func unwedge(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	var out, err bytes.Buffer
	a := &app{version: "v1.2.3", stdin: strings.NewReader(stdin), stdout: &out, stderr: &err}
	code := a.main(t.Context(), args)
	return ran{code, out.String(), err.String()}
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// onlyLine checks that stderr is one clean line that has all the words. Lines
// of progress may come before.
func onlyLine(t *testing.T, r ran, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "unwedge: ") {
		t.Errorf("stderr %q does not end in an error", r.stderr)
	}
	for _, l := range lines[:len(lines)-1] {
		if strings.HasPrefix(l, "unwedge: ") {
			t.Errorf("more than one error line: %q", r.stderr)
		}
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			t.Errorf("error %q\nlacks %q", last, w)
		}
	}
	noControls(t, r.stderr)
	noControls(t, r.stdout)
}

func noControls(t *testing.T, text string) {
	t.Helper()
	for _, c := range text {
		if c != '\n' && unicode.IsControl(c) || c == unicode.ReplacementChar {
			t.Errorf("%U in %q", c, text)
			return
		}
	}
}

func TestBadUsage(t *testing.T) {
	dir := isolated(t)
	vmlinux := write(t, "vmlinux", kerneltest.Vmlinux())
	write(t, "garbage", []byte("this is no kernel, whatever its name says"))
	write(t, "empty", nil)
	write(t, "cut", kerneltest.Vmlinux()[:100])
	write(t, "esc\x1b[31m\nfile", []byte("no kernel"))
	write(t, "bad.deb", []byte("!<arch>\ndebian-binary   garbage"))
	write(t, "bad.rpm", append([]byte{0xed, 0xab, 0xee, 0xdb}, make([]byte, 200)...))
	write(t, "full/file", nil)
	write(t, "bad.yaml", []byte("scenarios:\n  - name: x\n    entropie: [none]\n"))
	write(t, "worse.yaml", []byte("scenarios: [\x1b[31m"))
	write(t, "range.yaml", []byte("scenarios: [{name: x, cpus: 1000}]"))
	write(t, "empty.yaml", nil)
	for _, tt := range []struct {
		args  []string
		words []string
	}{
		{[]string{"boott"}, []string{`unknown command "boott"`, "did you mean boot?"}},
		{[]string{"frobnicate"}, []string{`unknown command "frobnicate"`, "see `unwedge --help`"}},
		{[]string{"\x1b[2J"}, []string{"unknown command"}},
		{[]string{"images", "frobnicate"}, []string{`unknown command "frobnicate"`, "see `unwedge images --help`"}},
		{[]string{"--no-such-flag"}, []string{"unknown flag: --no-such-flag", "see `unwedge --help`"}},
		{[]string{"boot", "--no-such-flag"}, []string{"unknown flag: --no-such-flag", "see `unwedge boot --help`"}},
		{[]string{"boot", "--cpus", "x"}, []string{`invalid argument "x"`, "--cpus"}},
		{[]string{"boot", "a", "b"}, []string{"accepts at most 1 arg", "see `unwedge boot --help`"}},
		{[]string{"boot", "-s", "no-such-scenario", vmlinux}, []string{`no scenario "no-such-scenario"`, "tiny", "distro"}},
		{[]string{"boot", "--arch", "sparc", vmlinux}, []string{"--arch", `"sparc"`, "x86_64, aarch64"}},
		{[]string{"boot", "--arch", "aarch64", vmlinux}, []string{vmlinux, "x86_64 kernel", "aarch64 is wanted"}},
		{[]string{"boot", "--initramfs", "initramfs-tools", vmlinux}, []string{`initramfs "initramfs-tools"`, "tiny, dracut, dracut-fips, none"}},
		{[]string{"boot", "--entropy", "yes", vmlinux}, []string{`entropy "yes"`, "virtio-rng, none, host"}},
		{[]string{"boot", "--cpus", "-1", vmlinux}, []string{"cpus -1: use 1 to 256"}},
		{[]string{"boot", "--memory", "1", vmlinux}, []string{"memory 1 MiB: use 64 to"}},
		{[]string{"boot", "--deadline", "-1s", vmlinux}, []string{"deadline -1s"}},
		{[]string{"boot", "-a", "a\nb", vmlinux}, []string{"kernel command line", "no line breaks"}},
		{[]string{"boot", "--modules-dir", dir, vmlinux}, []string{"--modules-dir", dir, "is not a lib/modules/RELEASE directory"}},
		{[]string{"boot", "--accel", "xen", vmlinux}, []string{`--accel "xen"`, "auto, kvm or tcg"}},
		{[]string{"boot", "--json", "--console", vmlinux}, []string{"--json and --console"}},
		{[]string{"boot", "--out", "full", vmlinux}, []string{"--out", "full", "is not empty", "name a new one"}},
		{[]string{"boot", "--out", "full/file", vmlinux}, []string{"--out", "full/file", "not a directory"}},
		{[]string{"boot", "nowhere"}, []string{`kernel "nowhere"`, "no such file", "deb:PACKAGE"}},
		{[]string{"boot", "garbage"}, []string{"garbage", "not a kernel"}},
		{[]string{"boot", "empty"}, []string{"empty"}},
		{[]string{"boot", "cut"}, []string{"cut"}},
		{[]string{"boot", "esc\x1b[31m\nfile"}, []string{"esc␛[31m", "not a kernel"}},
		{[]string{"boot", "full"}, []string{"full", "not a kernel build tree"}},
		{[]string{"boot", "bad.deb"}, []string{"bad.deb"}},
		{[]string{"boot", "bad.rpm"}, []string{"bad.rpm"}},
		{[]string{"boot", "deb:"}, []string{"deb:"}},
		{[]string{"matrix", "-j", "0", vmlinux}, []string{"-j 0: use 1 or more"}},
		{[]string{"matrix", "--probe=nope", vmlinux}, []string{`--probe: unknown probe "nope"`, "fail-syscall, input, virtio-rng"}},
		{[]string{"boot", "--probe=all,nope", vmlinux}, []string{`--probe: unknown probe "nope"`}},
		{[]string{"boot", "--probe", "--keep", vmlinux}, []string{"--probe changes the guest that --keep preserves"}},
		{[]string{"matrix", "-s", "nope", vmlinux}, []string{`no scenario "nope"`}},
		{[]string{"matrix", "--arch", "aarch64", vmlinux}, []string{"no cell is left"}},
		{[]string{"matrix", "--entropy", "host", vmlinux}, []string{"no cell is left"}},
		{[]string{"matrix", "--initramfs", "tiny", vmlinux}, []string{"no cell is left"}},
		{[]string{"matrix", "nowhere"}, []string{`kernel "nowhere"`}},
		{[]string{"scenarios", "nope"}, []string{`no scenario "nope"`}},
		{[]string{"scenarios", "--scenarios", "nowhere.yaml"}, []string{"nowhere.yaml", "no such file"}},
		{[]string{"scenarios", "--scenarios", "bad.yaml"}, []string{"bad.yaml", "entropie"}},
		{[]string{"scenarios", "--scenarios", "worse.yaml"}, []string{"worse.yaml"}},
		{[]string{"scenarios", "--scenarios", "range.yaml"}, []string{"range.yaml", "cpus 1000: use 1 to 256"}},
		{[]string{"scenarios", "--scenarios", "empty.yaml"}, []string{"empty.yaml", "the file is empty"}},
		{[]string{"boot", "--scenarios", "bad.yaml", vmlinux}, []string{"bad.yaml", "entropie"}},
		{[]string{"explain"}, []string{"requires at least 1 arg", "see `unwedge explain --help`"}},
		{[]string{"explain", "nowhere"}, []string{"nowhere", "no such file"}},
		{[]string{"explain", "empty"}, []string{"empty", "the file is empty"}},
		{[]string{"explain", "-"}, []string{"-", "the file is empty"}},
		{[]string{"explain", "--follow", dir}, []string{"--follow takes one file"}},
		{[]string{"version", "x"}, []string{`"x"`}},
		{[]string{"mutate", vmlinux}, []string{"--at FUNCTION and --out FILE are needed"}},
		{[]string{"mutate", vmlinux, "--at", "x", "-o", "o", "--fault", "explode"}, []string{"explode"}},
		{[]string{"attach", dir}, []string{"result.json", "no such file"}},
		{[]string{"stop", dir}, []string{"result.json", "no such file"}},
		{[]string{"stop"}, []string{"accepts 1 arg"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := unwedge(t, "", tt.args...)
			if r.code != exitUsage {
				t.Errorf("exit code %d, want %d", r.code, exitUsage)
			}
			if r.stdout != "" {
				t.Errorf("stdout %q", r.stdout)
			}
			onlyLine(t, r, tt.words...)
		})
	}
	if left, err := os.ReadDir(filepath.Join(dir, "state", "runs")); err == nil && len(left) > 0 {
		t.Errorf("bad usage made run directories: %v", left)
	}
}

func TestFine(t *testing.T) {
	isolated(t)
	for _, tt := range []struct {
		args  []string
		words []string
	}{
		{nil, []string{"Usage:", "Exit codes:", "unwedge doctor"}},
		{[]string{"--help"}, []string{"Usage:"}},
		{[]string{"images"}, []string{"Usage:", "prune"}},
		{[]string{"boot", "--help"}, []string{"--print-qemu"}},
		{[]string{"version"}, []string{"unwedge v1.2.3\n"}},
		{[]string{"scenarios"}, []string{"NAME", "distro", "fips-wrong-hmac"}},
		{[]string{"scenarios", "distro"}, []string{"distro/aarch64/none/dracut-fips", "booted to multi-user"}},
		{[]string{"images", "list"}, []string{"ENTRY", "0 entries"}},
		{[]string{"images", "prune"}, []string{"0 entries"}},
		{[]string{"images", "prune", "--all", "--dry-run"}, []string{"0 entries"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := unwedge(t, "", tt.args...)
			if r.code != exitFine || r.stderr != "" {
				t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
			}
			for _, w := range tt.words {
				if !strings.Contains(r.stdout, w) {
					t.Errorf("stdout lacks %q:\n%s", w, r.stdout)
				}
			}
			noControls(t, r.stdout)
		})
	}
}

const panicLog = "[    0.000000] Linux version 6.1.0\n[    0.500000] smp: Brought up 1 node, 1 CPU\n[    0.700000] Run /init as init process\n\x1b[31m[    1.000000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000\n"

func TestExplain(t *testing.T) {
	isolated(t)
	write(t, "panic.log", []byte(panicLog))
	write(t, "noise.log", []byte("[    0.000000] Linux version 6.1.0\n[    0.500000] smp: Brought up 1 node, 1 CPU\n[    0.700000] nothing \x1b]0;x\x07 of note\n"))
	for _, tt := range []struct {
		name, file, stdin string
		code              int
		words             []string
	}{
		{"file", "panic.log", "", exitFine, []string{"PANIC", "init-died"}},
		{"standard input", "-", panicLog, exitFine, []string{"PANIC", "init-died"}},
		{"unknown", "noise.log", "", exitKernel, []string{"unknown"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := unwedge(t, tt.stdin, "explain", tt.file)
			if r.code != tt.code || r.stderr != "" {
				t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
			}
			for _, w := range tt.words {
				if !strings.Contains(r.stdout, w) {
					t.Errorf("stdout lacks %q:\n%s", w, r.stdout)
				}
			}
			noControls(t, r.stdout)
			pureJSON(t, unwedge(t, tt.stdin, "explain", "--json", tt.file))
		})
	}
}

func TestExplainHugeFileIsRefusedUnread(t *testing.T) {
	isolated(t)
	write(t, "huge.log", nil)
	if err := os.Truncate("huge.log", 1<<40); err != nil { // sparse
		t.Skipf("no sparse files: %v", err)
	}
	r := unwedge(t, "", "explain", "huge.log")
	if r.code != exitUsage {
		t.Errorf("exit code %d", r.code)
	}
	onlyLine(t, r, "huge.log", "more than 512 MiB", "cut it to the boot in question")
}

// pureJSON checks that stdout is one JSON document and nothing else.
func pureJSON(t *testing.T, r ran) any {
	t.Helper()
	var v any
	dec := json.NewDecoder(strings.NewReader(r.stdout))
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("stdout %q: %v", r.stdout, err)
	}
	if dec.More() {
		t.Errorf("more than JSON on stdout: %q", r.stdout)
	}
	noControls(t, r.stdout)
	return v
}

func TestJSONIsPure(t *testing.T) {
	isolated(t)
	if cells, ok := pureJSON(t, unwedge(t, "", "scenarios", "--json")).([]any); !ok || len(cells) < 8 {
		t.Errorf("scenarios: %v", cells)
	}
	if entries, ok := pureJSON(t, unwedge(t, "", "images", "list", "--json")).([]any); !ok || len(entries) != 0 {
		t.Errorf("an empty cache is %v, want []", entries)
	}
}

// A matrix that has no result at all prints an empty list and says why.
func TestMatrixWithoutQEMU(t *testing.T) {
	isolated(t)
	vmlinux := write(t, "vmlinux", kerneltest.Vmlinux())
	r := unwedge(t, "", "matrix", "--json", "-s", "tiny", "--accel", "tcg", vmlinux)
	if r.code != exitHarness {
		t.Errorf("exit code %d", r.code)
	}
	if list, ok := pureJSON(t, r).([]any); !ok || len(list) != 0 {
		t.Errorf("stdout %q, want []", r.stdout)
	}
	onlyLine(t, r, "cells have no result", "qemu-system-x86_64", "unwedge doctor")
}

func TestBootWithoutQEMU(t *testing.T) {
	isolated(t)
	vmlinux := write(t, "vmlinux", kerneltest.Vmlinux())
	for _, flag := range []string{"--json", "--print-qemu", "--console"} {
		r := unwedge(t, "", "boot", flag, "--initramfs", "none", vmlinux)
		if r.code != exitHarness || r.stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q", flag, r.code, r.stdout)
		}
		onlyLine(t, r, "qemu-system-x86_64", "not installed", "unwedge doctor")
	}
}

func TestQuietShowsNoProgress(t *testing.T) {
	isolated(t)
	vmlinux := write(t, "vmlinux", kerneltest.Vmlinux())
	if r := unwedge(t, "", "boot", "-q", vmlinux); strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("stderr %q, want the error only", r.stderr)
	}
}

func TestDoctorWithoutPath(t *testing.T) {
	isolated(t)
	r := unwedge(t, "", "doctor")
	if r.code != exitHarness {
		t.Errorf("exit code %d", r.code)
	}
	for _, w := range []string{"MISSING", "Accelerators:", "x86_64   none: ", "aarch64  none: ", "apt", "dnf", "pacman", "zypper"} {
		if !strings.Contains(r.stdout, w) {
			t.Errorf("stdout lacks %q:\n%s", w, r.stdout)
		}
	}
	onlyLine(t, r, "something required is missing")
	if r := unwedge(t, "", "doctor", "--command"); r.code != exitFine || r.stdout != "" {
		t.Errorf("a command for an unknown distribution: %d, %q", r.code, r.stdout)
	}
}

// kept writes a run directory with a Result.
func keptRun(t *testing.T, k *result.Kept) string {
	t.Helper()
	r := &result.Result{Schema: result.Schema, Dir: t.TempDir(), Kept: k}
	if err := r.Write(rundir.Result); err != nil {
		t.Fatal(err)
	}
	return r.Dir
}

func TestKeptGuestsThatAreNone(t *testing.T) {
	isolated(t)
	for _, command := range []string{"attach", "stop"} {
		r := unwedge(t, "", command, keptRun(t, nil))
		if r.code != exitUsage {
			t.Errorf("%s: exit code %d", command, r.code)
		}
		onlyLine(t, r, "no guest was kept", "--keep")
	}
	gone := func() string { return keptRun(t, &result.Kept{PID: 4242, QMP: "/nowhere/\x1b[2J/qmp"}) }
	r := unwedge(t, "", "attach", gone())
	if r.code != exitHarness {
		t.Errorf("attach: exit code %d", r.code)
	}
	onlyLine(t, r, "the kept guest is gone", "its QEMU has ended")
	dir := gone()
	if r := unwedge(t, "", "stop", dir); r.code != exitFine || r.stdout != "it had ended before\n" {
		t.Errorf("stop of a guest that is gone: %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if r := unwedge(t, "", "stop", dir); r.code != exitUsage {
		t.Errorf("stop again: exit code %d, want the run forgotten", r.code)
	}
}

// monitor is a QMP peer that answers everything, and leaves after quit.
func monitor(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, `{"QMP":{"version":{"qemu":{"micro":0,"minor":2,"major":7},"package":""},"capabilities":[]}}`+"\n")
		dec := json.NewDecoder(conn)
		for {
			var c struct{ Execute, ID string }
			if dec.Decode(&c) != nil {
				return
			}
			fmt.Fprintf(conn, `{"return":{},"id":%q}`+"\n", c.ID)
			if c.Execute == "quit" {
				return
			}
		}
	}()
}

func TestStop(t *testing.T) {
	isolated(t)
	short, err := os.MkdirTemp("", "unwedge-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	for _, linked := range []bool{false, true} {
		sockets := short
		dir := keptRun(t, nil)
		if linked {
			if err := os.Symlink(short, filepath.Join(dir, rundir.Sockets)); err != nil {
				t.Fatal(err)
			}
		} else {
			sockets = filepath.Join(dir, rundir.Sockets)
			if err := os.Mkdir(sockets, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		res, err := result.Read(filepath.Join(dir, rundir.Result))
		if err != nil {
			t.Fatal(err)
		}
		res.Kept = &result.Kept{PID: 1 << 30, QMP: filepath.Join(sockets, "qmp")}
		if err := res.Write(rundir.Result); err != nil {
			t.Fatal(err)
		}
		monitor(t, res.Kept.QMP)
		if r := unwedge(t, "", "stop", dir); r.code != exitFine || r.stdout != "ended\n" || r.stderr != "" {
			t.Errorf("linked %v: %+v", linked, r)
		}
		for _, gone := range []string{sockets, filepath.Join(dir, rundir.Sockets)} {
			if _, err := os.Lstat(gone); err == nil {
				t.Errorf("linked %v: %s is still there", linked, gone)
			}
		}
		if r := unwedge(t, "", "stop", dir); r.code != exitUsage {
			t.Errorf("stopped twice: %+v", r)
		}
	}
}
