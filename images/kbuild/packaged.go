package kbuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/candidate"
)

// ResolveConfig turns a user's --config into a Spec's Config: for "deb:PACKAGE…",
// the configuration that a kernel package of the Debian archive was built with, or
// that of a flavour in linux-config-SERIES (candidate.ArchiveConfig); anything else
// is returned as it is. The error is an *UnknownConfigError where that is neither a
// target nor a file, and a *BadConfigError where the file holds no configuration.
func ResolveConfig(ctx context.Context, arg string, opts candidate.Options) (string, error) {
	if strings.HasPrefix(arg, "deb:") {
		return candidate.ArchiveConfig(ctx, arg, opts)
	}
	if arg == "" || isTarget(arg) {
		return arg, nil
	}
	return arg, checkConfigFile(arg)
}

// BadConfigError says that a file cannot be the configuration of a kernel. Kconfig
// itself takes any file: it warns of each line, and sets the defaults.
type BadConfigError struct{ Path, Reason string }

func (e *BadConfigError) Error() string {
	return fmt.Sprintf("kernel configuration %q: %s", e.Path, e.Reason)
}

// maxConfig bounds a .config; a distribution's has 0.3 MiB.
const maxConfig = 16 << 20

// checkConfigFile says what is wrong with a .config that a user names. It is read
// for each build, so that it has to stay.
func checkConfigFile(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &UnknownConfigError{path}
	case err != nil:
		return fmt.Errorf("read kernel configuration: %w", err)
	case st.IsDir():
		return &BadConfigError{path, "a directory: name the .config file in it"}
	case !st.Mode().IsRegular():
		return &BadConfigError{path, "not a regular file: it is read more than once, so write it to a file first"}
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read kernel configuration: %w", err)
	}
	defer f.Close() // only read
	text, err := io.ReadAll(io.LimitReader(f, maxConfig))
	switch {
	case err != nil:
		return fmt.Errorf("read kernel configuration: %w", err)
	case bytes.HasPrefix(text, []byte{0x1f, 0x8b}):
		return &BadConfigError{path, "compressed: unpack it with `zcat` first"}
	case !slices.ContainsFunc(strings.Split(string(text), "\n"), isSetting):
		return &BadConfigError{path, "no line of it sets an option (CONFIG_…=…): name a kernel's .config"}
	}
	return nil
}

func isSetting(line string) bool {
	line = strings.TrimSpace(line)
	return setRE.MatchString(line) || unsetRE.MatchString(line)
}
