package candidate

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

func xz(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "xz", "-1")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Skip(err)
	}
	return string(out)
}

func TestArchiveConfig(t *testing.T) {
	f := newFakeApt(t)
	f.opts.Arch = arch.X86_64
	f.add("linux-config-6.1", "6.1.192-2", "",
		entry{name: "./usr/src/linux-config-6.1/config.amd64_none_amd64.xz", body: xz(t, "CONFIG_A=y\n")},
		entry{name: "./usr/src/linux-config-6.1/config.amd64_none_cloud-amd64.xz", body: xz(t, "CONFIG_CLOUD=y\n")},
		entry{name: "./usr/src/linux-config-6.1/config.amd64_rt_amd64.xz", body: xz(t, "CONFIG_RT=y\n")})
	for arg, want := range map[string]string{
		"deb:linux-config-6.1":                                "CONFIG_A=y\n",
		"deb:linux-config-6.1@bookworm":                       "CONFIG_A=y\n",
		"deb:linux-config-6.1/cloud-amd64":                    "CONFIG_CLOUD=y\n",
		"deb:linux-config-6.1/cloud-amd64=6.1.192-2@bookworm": "CONFIG_CLOUD=y\n",
	} {
		path, err := ArchiveConfig(t.Context(), arg, f.opts)
		if err != nil {
			t.Errorf("%s: %v", arg, err)
			continue
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", arg, b, err)
		}
	}
	var missing *NotFoundError
	for _, arg := range []string{"deb:linux-config-6.1/cloud", "deb:linux-config-6.1/../../x", "deb:linux-config-9.9", "deb:linux-config-6.1/amd64=../x"} {
		if path, err := ArchiveConfig(t.Context(), arg, f.opts); !errors.As(err, &missing) || path != "" {
			t.Errorf("%s: %s, %v", arg, path, err)
		}
	}
	if _, err := ArchiveConfig(t.Context(), "deb:linux-config-6.1/cloud", f.opts); !strings.Contains(err.Error(), "amd64, cloud-amd64") {
		t.Errorf("error %v, want the flavours that there are", err)
	}
}
