package boot

import (
	"bytes"
	"regexp"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// words are what the console shows of a stage: a text that must be in the line, and
// where that alone may mean something else, a pattern too.
type words struct {
	stage   stage.Stage
	text    string
	pattern *regexp.Regexp
}

// told are the words of firmware, boot loaders, kernel and systemd. Of those in one
// line the last counts.
var told = []words{
	{stage.Firmware, "SeaBIOS (version ", nil},
	{stage.Firmware, "UEFI firmware (version ", nil},                                   // ArmVirtQemu's banner
	{stage.Firmware, "BdsDxe: ", nil},                                                  // MdeModulePkg/Universal/BdsDxe
	{stage.Firmware, "UEFI Interactive Shell", nil},                                    // ShellPkg
	{stage.Firmware, "No bootable device.", nil},                                       // SeaBIOS, src/boot.c
	{stage.Loader, "BdsDxe: starting ", nil},                                           // it has loaded a boot option
	{stage.Loader, "Booting from Hard Disk", nil},                                      // SeaBIOS, src/boot.c
	{stage.Loader, "GNU GRUB", nil},                                                    //
	{stage.Loader, "Welcome to GRUB!", nil},                                            // grub-core/kern/main.c
	{stage.Loader, "Loading Linux ", nil},                                              // grub's util/grub.d/10_linux
	{stage.Loader, "Loading initial ramdisk ", nil},                                    //
	{stage.Kernel, "EFI stub: ", nil},                                                  // drivers/firmware/efi/libstub
	{stage.Kernel, "Linux version ", regexp.MustCompile(`(?:^|\] ?)Linux version \d`)}, // init/version-timestamp.c
	{stage.Init, " as init process", regexp.MustCompile(`(?:^|\] ?)Run /\S* as init process`)},
	{stage.System, "Welcome to ", regexp.MustCompile(`^Welcome to .*!$`)}, // systemd, src/core/main.c
	{stage.MultiUser, "Reached target ", regexp.MustCompile(`Reached target (?:multi-user\.target|Multi-User System)`)},
	{stage.Login, "login:", regexp.MustCompile(`(?:^|[\s\w.-])login: ?$`)},
}

// maxTold is how much of a line is looked at, in bytes.
const maxTold = 4096

// Told returns the stage that a line of the console shows, "" for none.
func Told(line []byte) stage.Stage {
	line = line[:min(len(line), maxTold)]
	var out stage.Stage
	for _, w := range told {
		if !bytes.Contains(line, []byte(w.text)) {
			continue
		}
		if w.pattern == nil || w.pattern.Match(bytes.TrimRight(console.Strip(line), "\r\n")) {
			out = w.stage
		}
	}
	return out
}
