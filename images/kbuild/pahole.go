package kbuild

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// paholeName is the script in Output that the build runs as pahole.
const paholeName = ".unwedge-pahole"

// paholeScript has pahole make types in one thread. The kernel's build asks for
// threads from pahole 1.22 on (kernel commit b4f72786429c), and they number the types
// in the order in which they come to them: until pahole 1.28 two builds differ in
// .BTF. The last -j holds.
const paholeScript = "#!/bin/sh\nexec pahole \"$@\" -j1\n"

// steadyPahole puts the script into the output directory. It is "" where there is
// no pahole, or one that has no threads.
func steadyPahole(output string) (string, error) {
	if _, err := exec.LookPath("pahole"); err != nil || exec.Command("pahole", "--version", "-j1").Run() != nil { //nolint:noctx // it prints a line
		return "", nil //nolint:nilerr // then the build says what it lacks
	}
	path := filepath.Join(output, paholeName)
	if have, err := os.ReadFile(path); err == nil && string(have) == paholeScript {
		return path, nil
	}
	// os.WriteFile does not change the mode of a file that is there.
	err := os.WriteFile(path, []byte(paholeScript), 0o755) //nolint:gosec // it is run
	return path, errors.Join(err, os.Chmod(path, 0o755))   //nolint:gosec // as above
}
