package main

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

func TestKernelArgs(t *testing.T) {
	for cmdline, want := range map[string]map[string][]string{
		"":                                 {},
		"quiet root=/dev/vda":              {},
		"unwedge.fault=getrandom":          {"unwedge.fault": {"getrandom"}},
		"a unwedge.fault=sleep:1s,exit  b": {"unwedge.fault": {"sleep:1s", "exit"}},
		"unwedge.fault=a unwedge.then=b unwedge.fault=c": {"unwedge.fault": {"a", "c"}, "unwedge.then": {"b"}},
		"unwedge.poweroff":            {"unwedge.poweroff": {""}},
		"unwedge.fault=child:flock=x": {"unwedge.fault": {"child:flock=x"}},
		"notunwedge.fault=x unwedge":  {},
	} {
		if got := kernelArgs(cmdline); !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%q: %v, want %v", cmdline, got, want)
		}
	}
}

// note is an ELF note in the machine's byte order.
func note(name string, kind uint32, desc []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(len(name)))
	b = binary.NativeEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.NativeEndian.AppendUint32(b, kind)
	pad := func(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }
	return append(append(b, pad([]byte(name))...), pad(desc)...)
}

func TestBuildID(t *testing.T) {
	id := []byte{0xde, 0xad, 0xbe, 0xef, 1}
	good := note("GNU\x00", 3, id)
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"alone", good, "deadbeef01"},
		{"behind others", slices.Concat(note("Xen\x00", 6, []byte("generic")), note("Linux\x00", 257, make([]byte, 5)), note("GNU\x00", 5, nil), good), "deadbeef01"},
		{"empty", nil, ""},
		{"another's note of the kind", note("LLVM\x00", 3, id), ""},
		{"short header", good[:8], ""},
		{"short name", good[:14], ""},
		{"short description", good[:17], ""},
		{"lengths that overflow", slices.Concat(slices.Repeat([]byte{0xff}, 8), good[8:]), ""},
		{"zeros", make([]byte, 120), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "notes")
			if err := os.WriteFile(file, tt.file, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := buildID(file); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	if got := buildID(filepath.Join(t.TempDir(), "nowhere")); got != "" {
		t.Errorf("%q of no file", got)
	}
}

// Oracle: the shape of a build ID, and that its bytes stand in the notes.
func TestBuildIDOfThisHost(t *testing.T) {
	b, err := os.ReadFile("/sys/kernel/notes")
	if err != nil {
		t.Skipf("no kernel notes: %v", err)
	}
	got := buildID("/sys/kernel/notes")
	if !strings.Contains(string(b), "GNU\x00") {
		t.Skip("this host's kernel has no GNU notes")
	}
	raw, err := hex.DecodeString(got)
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{16,64}$`).MatchString(got) || !strings.Contains(string(b), string(raw)) {
		t.Errorf("build ID %q", got)
	}
}

func FuzzBuildID(f *testing.F) {
	f.Add(note("GNU\x00", 3, []byte{1, 2, 3}))
	file := filepath.Join(f.TempDir(), "notes")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		buildID(file)
	})
}

func TestFindPort(t *testing.T) {
	class := t.TempDir()
	if got := findPort(class, "/dev"); got != "" {
		t.Errorf("port %q where there is none", got)
	}
	for dir, name := range map[string]string{
		"vport0p0": "", "vport1p1": "org.qemu.guest_agent.0\n", "vport1p2": agentproto.Port + "x\n", "vport2p7": agentproto.Port + "\n",
	} {
		if err := os.Mkdir(filepath.Join(class, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "" {
			continue // a port without a name has no such file
		}
		if err := os.WriteFile(filepath.Join(class, dir, "name"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := findPort(class, "/dev"); got != "/dev/vport2p7" {
		t.Errorf("port %q, want /dev/vport2p7", got)
	}
	if got := findPort(filepath.Join(class, "nowhere"), "/dev"); got != "" {
		t.Errorf("port %q of no class", got)
	}
}

func TestWriteBounded(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "port")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeBounded(fifo, []byte("x\n")); err == nil {
		t.Error("wrote to a port that nobody has open")
	}
	r, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := writeBounded(fifo, []byte("report\n")); err != nil {
		t.Error(err)
	}
	got := make([]byte, 16)
	if n, err := r.Read(got); err != nil || string(got[:n]) != "report\n" {
		t.Errorf("read %q, %v", got[:n], err)
	}
}

// What the guest lacks is left out, and a report is made all the same.
func TestGather(t *testing.T) {
	r := gather(stage.Init)
	if r.V != 1 || r.Stage != stage.Init || r.Release == "" || r.HWRNG == "" || r.Uptime <= 0 {
		t.Errorf("report %+v", r)
	}
	if out, err := exec.CommandContext(t.Context(), "uname", "-r").Output(); err == nil && strings.TrimSpace(string(out)) != r.Release {
		t.Errorf("release %q, uname says %q", r.Release, out)
	}
	line, err := r.Line()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := agentproto.Parse(line); err != nil || back.Release != r.Release {
		t.Errorf("%s: %+v, %v", line, back, err)
	}
}

func TestUnknownFaultIsHarmless(_ *testing.T) { runFault("no-such-fault:arg") }

func TestTryModules(t *testing.T) {
	tryModules(filepath.Join(t.TempDir(), "nowhere")) // most images have no list
	got := tryModule(agentproto.ModuleTrial{Label: "x", Path: filepath.Join(t.TempDir(), "no.ko"), Name: "no_such_module", Param: "p"})
	if got.Label != "x" || got.Errno != "ENOENT" || got.Param != "" || got.Log != nil {
		t.Errorf("%+v", got)
	}
	if got := errnoName(nil); got != "" {
		t.Errorf("no error is called %q", got)
	}
}

func TestLastLines(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"a", long, "b"}, []string{"a", long, "b"}},
		{[]string{"a", long, long, "b"}, []string{long, "b"}},
		{[]string{strings.Repeat("x", 600)}, nil},
	} {
		if got := lastLines(tt.lines); !slices.Equal(got, tt.want) {
			t.Errorf("%d lines: %.60q, want %.60q", len(tt.lines), got, tt.want)
		}
	}
	// What is left fits into a report.
	r := agentproto.Report{V: 1, Stage: stage.Module, Uptime: 12345.67, Via: "virtio-serial",
		Module: &agentproto.ModuleTried{Label: "unknown-symbol", Errno: "EKEYREJECTED", Param: "0123456789ab", Log: lastLines([]string{long, strings.Repeat("y", 180)})}}
	if line, err := r.Line(); err != nil || len(r.Module.Log) != 2 {
		t.Errorf("%s: %v", line, err)
	}
}
