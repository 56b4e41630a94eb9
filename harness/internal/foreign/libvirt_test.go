package foreign

import (
	"os"
	"strings"
	"testing"
)

func TestSplitDomain(t *testing.T) {
	for _, tt := range []struct {
		name, env string
		uid       int
		uri, dom  string
	}{
		{"example", "", 0, systemURI, "example"},
		{"example", "", 1000, sessionURI, "example"},
		{"example", "qemu:///system", 1000, systemURI, "example"},
		{"qemu:///session/example", "qemu:///system", 0, sessionURI, "example"},
		{"a/b", "", 0, systemURI, "a/b"},
		{"qemu+ssh://host/system/x", "", 0, "qemu+ssh://host/system", "x"},
	} {
		if uri, dom := splitDomain(tt.name, tt.env, tt.uid); uri != tt.uri || dom != tt.dom {
			t.Errorf("%s: %s, %s", tt.name, uri, dom)
		}
	}
}

func TestDaemonSockets(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	want := "/run/user/7/libvirt/virtqemud-sock /run/user/7/libvirt/libvirt-sock"
	if os.Geteuid() == 0 { // root's session is the system
		want = "/run/libvirt/virtqemud-sock /run/libvirt/libvirt-sock"
	}
	if got, err := daemonSockets(sessionURI); err != nil || strings.Join(got, " ") != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := daemonSockets("qemu+ssh://host/system"); err == nil || !strings.Contains(err.Error(), "on the machine that it runs on") {
		t.Errorf("%v", err)
	}
}

func TestParseUUID(t *testing.T) {
	u, ok := parseUUID("01020304-0506-0708-090a-0b0c0d0e0f10")
	if !ok || u[0] != 1 || u[15] != 16 {
		t.Errorf("%v %v", u, ok)
	}
	for _, bad := range []string{"", "example", "01020304-0506-0708-090a-0b0c0d0e0f1g", strings.Repeat("1", 33)} {
		if _, ok := parseUUID(bad); ok {
			t.Errorf("%q", bad)
		}
	}
}
