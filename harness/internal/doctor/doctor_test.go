package doctor_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/doctor"
)

func host(root bool, has ...string) doctor.Host {
	return doctor.Host{
		Root: root,
		LookPath: func(n string) (string, error) {
			if slices.Contains(has, n) {
				return "/usr/bin/" + n, nil
			}
			return "", errors.New("not found")
		},
		Exists: func(p string) bool { return slices.Contains(has, p) },
	}
}

func everything() []string {
	var names []string
	for _, n := range doctor.Needs() {
		names = append(names, n.Name)
	}
	return names
}

func TestAHealthyHostNeedsNoCommand(t *testing.T) {
	e := doctor.Examine(host(true, everything()...))
	if cmd, left := e.Command(); cmd != "" || left != nil || !e.Healthy() {
		t.Errorf("command %q, unpackaged %v, healthy %v", cmd, left, e.Healthy())
	}
}

func TestTheCommandIsTheDistributionsOwn(t *testing.T) {
	without := func(names ...string) []string {
		return slices.DeleteFunc(everything(), func(n string) bool { return slices.Contains(names, n) })
	}
	for _, tc := range []struct {
		name string
		host doctor.Host
		want string
	}{
		{"debian as root", host(true, append(without("qemu-system-aarch64", "chroot"), "apt-get")...),
			"apt-get install -y --no-install-recommends qemu-system-arm coreutils"},
		{"fedora as a user", host(false, append(without("mount", "qemu-system-x86_64"), "dnf", "apt-get")...),
			"sudo dnf install -y qemu-system-x86-core util-linux-core"},
		{"arch", host(true, append(without("mount"), "pacman")...),
			"pacman -S --needed util-linux"},
		{"opensuse", host(true, append(without("qemu-system-x86_64"), "zypper")...), "zypper install -y qemu-x86"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := doctor.Examine(tc.host)
			if got, _ := e.Command(); got != tc.want {
				t.Errorf("command\n got %s\nwant %s", got, tc.want)
			}
			if e.Healthy() {
				t.Error("healthy although something is missing")
			}
		})
	}
}

func TestWhatIsNotPackagedIsNamed(t *testing.T) {
	e := doctor.Examine(host(true, "zypper"))
	if _, left := e.Command(); !slices.Contains(left, "apt-get") {
		t.Errorf("unpackaged %v, want apt-get named", left)
	}
	if cmd, left := doctor.Examine(host(true)).Command(); cmd != "" || len(left) == 0 {
		t.Errorf("unknown distribution: command %q, unpackaged %v", cmd, left)
	}
}

func TestTheOptionalComesLastAndDoesNotMakeIll(t *testing.T) {
	needs := doctor.Needs()
	optional := needs[slices.IndexFunc(needs, func(n doctor.Need) bool { return n.Optional })]
	lacks := func(n string) bool { return n == optional.Name || slices.Contains(optional.Or, n) }
	e := doctor.Examine(host(true, slices.DeleteFunc(everything(), lacks)...))
	if !e.Healthy() || len(e.Missing()) != 1 {
		t.Errorf("healthy %v, missing %v", e.Healthy(), e.Missing())
	}
}
