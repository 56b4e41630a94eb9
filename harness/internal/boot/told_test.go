package boot

import (
	"testing"

	"github.com/unwedge/unwedge/scenarios/stage"
)

func TestTold(t *testing.T) {
	for line, want := range map[string]stage.Stage{
		"SeaBIOS (version 1.16.2-debian-1.16.2-1)":                                          stage.Firmware,
		"UEFI firmware (version 2022.11-6+deb12u2 built at 00:00:00)":                       stage.Firmware,
		"BdsDxe: loading Boot0001 \"UEFI Misc Device\"":                                     stage.Firmware,
		"BdsDxe: starting Boot0001 \"UEFI Misc Device\"":                                    stage.Loader,
		"Booting from Hard Disk...":                                                         stage.Loader,
		"EFI stub: Booting Linux Kernel...":                                                 stage.Kernel,
		"[    0.000000] Linux version 6.1.0 (demo@example)":                                 stage.Kernel,
		"this is no Linux version at all":                                                   "",
		"[    1.500000] Run /init as init process":                                          stage.Init,
		"Welcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!":                          stage.System,
		"[  OK  ] Reached target \x1b[0;1;39mmulti-user.target\x1b[0m - Multi-User System.": stage.MultiUser,
		"demo login: ":      stage.Login,
		"Last login: today": "",
		"":                  "",
	} {
		if got := Told([]byte(line)); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
