package scenarios_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"
)

func TestBuiltinHoldsTheMatrix(t *testing.T) {
	distro, err := scenarios.Builtin().Find("distro")
	if err != nil {
		t.Fatal(err)
	}
	cells := distro.Cells()
	if len(cells) != 8 {
		t.Fatalf("distro has %d cells, want 8: 2 arches x 2 entropy sources x 2 initramfs", len(cells))
	}
	seen := map[string]bool{}
	for _, c := range cells {
		seen[c.Name] = true
		if c.BootedStage() != stage.MultiUser {
			t.Errorf("%s counts as booted at %s, want multi-user", c.Name, c.BootedStage())
		}
	}
	if len(seen) != 8 || !seen["distro/aarch64/none/dracut-fips"] {
		t.Errorf("cell names: %v", seen)
	}
}

func TestBadFilesAreRefusedWithTheReason(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"empty":            {"", "empty"},
		"no list":          {"scenarios: []", "no scenarios"},
		"misspelt field":   {"scenarios: [{name: a, entropi: [none]}]", "entropi"},
		"bad arch":         {"scenarios: [{name: a, arch: [sparc]}]", `arch "sparc"`},
		"module in dracut": {"scenarios: [{name: a, external_module: true, initramfs: [dracut], root: ext4}]", "external_module needs initramfs tiny"},
		"bad entropy":      {"scenarios: [{name: a, entropy: [lots]}]", `entropy "lots"`},
		"bad outcome":      {"scenarios: [{name: a, expect: {outcome: fine}}]", `outcome "fine"`},
		"twice":            {"scenarios: [{name: a}, {name: a}]", "twice"},
		"slash in name":    {"scenarios: [{name: a/b}]", "without slashes"},
		"little memory":    {"scenarios: [{name: a, memory_mib: 1}]", "memory 1 MiB"},
		"dracut no root":   {"scenarios: [{name: a, initramfs: [dracut]}]", "needs a root"},
		"hmac no fips":     {"scenarios: [{name: a, wrong_hmac: true}]", "wrong_hmac"},
		"without what":     {"scenarios: [{name: a, without: [keyboard]}]", "keyboard"},
		"seed no dracut":   {"scenarios: [{name: a, seed_library: true}]", "seed_library"},
		"line break":       {`scenarios: [{name: a, cmdline: ["a\nb"]}]`, "line breaks"},
		"not yaml":         {"{{{{", "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s.yaml")
			if err := os.WriteFile(path, []byte(tc.yaml), 0o644); err != nil {
				t.Fatal(err)
			}
			c, err := scenarios.Load(path)
			if err == nil {
				t.Fatalf("accepted as %v", c)
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q and the file's name", err, tc.want)
			}
		})
	}
}

func TestFindNamesWhatThereIs(t *testing.T) {
	_, err := scenarios.Builtin().Find("dsitro")
	if err == nil || !strings.Contains(err.Error(), "distro") {
		t.Errorf("error %v, want one that lists the names", err)
	}
}

// Every field of a scenario file is described in the README.
func TestREADMEHasEveryField(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[scenarios.Template](), reflect.TypeFor[scenarios.Expect]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			if name == "" || !strings.Contains(string(b), "\n| `"+name+"` |") {
				t.Errorf("%s.%s: no row for %q", typ.Name(), typ.Field(i).Name, name)
			}
		}
	}
}

// Every kind of everything is named there, and Validate takes it.
func TestREADMEHasEveryKind(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range scenarios.Entropies() {
		words = append(words, string(e))
	}
	for _, i := range scenarios.Initramfses() {
		words = append(words, string(i))
	}
	for _, r := range scenarios.Roots() {
		words = append(words, string(r))
	}
	for _, w := range words {
		if !strings.Contains(string(b), "`"+w+"`") {
			t.Errorf("%q is not described", w)
		}
	}
}

// What a kind does, by the rows of its table; one that is not in it does nothing.
func TestKinds(t *testing.T) {
	for e, want := range map[scenarios.Entropy]string{
		scenarios.VirtioRNG: "true false", scenarios.None: "false false", scenarios.Host: "false true", "lots": "false false",
	} {
		if got := fmt.Sprint(e.Device(), e.Seeded()); got != want {
			t.Errorf("entropy %s: device, seeded: %s, want %s", e, got, want)
		}
	}
	for i, want := range map[scenarios.Initramfs]string{
		scenarios.Tiny: "true false false true", scenarios.Dracut: "true true false false", scenarios.DracutFIPS: "true true true false",
		scenarios.NoInitrd: "false false false false", "cpio": "false false false false",
	} {
		if got := fmt.Sprint(i.Present(), i.NeedsRoot(), i.FIPS(), i.LoadsNamed()); got != want {
			t.Errorf("initramfs %s: present, needs root, FIPS, loads named modules: %s, want %s", i, got, want)
		}
	}
	for r, want := range map[scenarios.Root]string{scenarios.NoRoot: "false false", scenarios.Ext4: "true true", scenarios.Missing: "true false"} {
		if got := fmt.Sprint(r.Wanted(), r.Attached()); got != want {
			t.Errorf("root %s: wanted, attached: %s, want %s", r, got, want)
		}
	}
}

func TestAxes(t *testing.T) {
	c, err := scenarios.Read(strings.NewReader(`
scenarios:
  - name: machines
    arch: [x86_64]
    entropy: none
    machine: [q35, pc, microvm]
    cpus: [1, 4]
    memory_mib: 256
    cmdline: [[], [nokaslr, quiet]]
    exclude:
      - {machine: microvm, cpus: 4}
      - {machine: [pc], cmdline: [nokaslr, quiet]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range c[0].Cells() {
		names = append(names, strings.TrimPrefix(s.Name, "machines/x86_64/none/tiny/"))
		if s.MemoryMiB != 256 {
			t.Errorf("%s has %d MiB", s.Name, s.MemoryMiB)
		}
	}
	want := []string{
		"machine=q35/cpus=1/cmdline=", "machine=q35/cpus=1/cmdline=nokaslr+quiet", "machine=q35/cpus=4/cmdline=", "machine=q35/cpus=4/cmdline=nokaslr+quiet",
		"machine=pc/cpus=1/cmdline=", "machine=pc/cpus=4/cmdline=", "machine=microvm/cpus=1/cmdline=", "machine=microvm/cpus=1/cmdline=nokaslr+quiet",
	}
	if !slices.Equal(names, want) {
		t.Errorf("cells\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
}

// Files are relative to the scenario file; a path tells a file from a kind.
func TestOwnFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.yaml")
	text := "scenarios: [{name: a, arch: x86_64, initramfs: [tiny, ./my.cpio], disk: d.qcow2}, {name: b, arch: x86_64, root: /}]"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := scenarios.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	tiny, own, root := c[0].Cells()[0], c[0].Cells()[1], c[1].Cells()[0]
	if tiny.Initrd != "" || own.Initrd != filepath.Join(dir, "my.cpio") || own.Initramfs != scenarios.OwnInitrd || own.Disk != filepath.Join(dir, "d.qcow2") {
		t.Errorf("%+v\n%+v", tiny, own)
	}
	if root.Root != scenarios.DirRoot || root.RootDir != "/" || !root.HostFiles() || tiny.HasAgent() != true || own.HasAgent() {
		t.Errorf("%+v", root)
	}
	if got := own.Booted(); got.Kind != scenarios.ByInit {
		t.Errorf("an initramfs of one's own boots to %s", got)
	}
}

func TestBadGuestsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"machine: isapc, arch: x86_64":                          `machine "isapc": on x86_64 use q35, pc, microvm`,
		"machine: q35, arch: aarch64":                           "on aarch64 use virt",
		"machine: microvm, arch: x86_64, firmware: uefi":        "the machine microvm has none",
		"firmware: coreboot":                                    `firmware "coreboot": use default, uefi`,
		"with_agent: true":                                      "with_agent is for an initramfs of your own",
		"initramfs: own":                                        "initramfs own needs a file",
		"root: own":                                             "root own needs a directory",
		"root: /, initramfs: dracut":                            "mounted by initramfs tiny",
		`root: /, cmdline: ["init=/sbin/init"]`:                 "say what counts as booted",
		"boot_disk: true, initramfs: none":                      "boot_disk needs a disk",
		"boot_disk: true, disk: a, expect: {login: true}":       "use initramfs none",
		"boot_disk: true, disk: a, initramfs: none":             "say what counts as booted",
		"initramfs: /x, expect: {stage: userspace}":             "no agent that reports it",
		"expect: {login: true, tcp: 22}":                        "one thing counts as booted",
		"expect: {tcp: 70000}":                                  `tcp port "70000"`,
		`expect: {console: "("}`:                                "console pattern",
		"expect: {task: a-name-of-many-bytes}":                  "the kernel keeps 15 bytes",
		`expect: {systemd: "a b"}`:                              "use a unit's name",
		"expect: {stage: somewhere}":                            `stage "somewhere": use`,
		"exclude: [{}]":                                         "names nothing",
		"exclude: [{entropy: virtio-rng}]":                      "leaves no cell",
		"cmdline: quiet":                                        "use a list of words",
		"exclude: [{entropi: none}]":                            "entropi",
		"cpus: [1, 2, 3], exclude: [{cpus: 1}], memory_mib: 10": "memory 10 MiB",
	} {
		_, err := scenarios.Read(strings.NewReader("scenarios: [{name: a, " + text + "}]"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", text, err, want)
		}
	}
}

func TestParseSign(t *testing.T) {
	for text, want := range map[string]string{
		"login": "login", "systemd": "systemd=multi-user.target", "systemd=ssh.service": "systemd=ssh.service", "tcp=22": "tcp=22",
		"console=a=b": "console=a=b", "init": "init", "task=sshd": "task=sshd", "stage=system": "stage=system",
		"login=x": "", "tcp": "", "tcp=x": "", "prompt": "", "": "", "console": "", "stage=x": "",
	} {
		got, err := scenarios.ParseSign(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
		if err == nil {
			if e := (scenarios.Expect{Outcome: scenarios.Hung, Login: true}).With(got); e.Sign() != got || len(e.Signs()) != 1 || e.Outcome != scenarios.Hung {
				t.Errorf("%q: %+v", text, e)
			}
		}
	}
}
