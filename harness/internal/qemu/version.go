package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// versionLimit bounds `qemu --version`, which takes some 30 ms.
const versionLimit = 10 * time.Second

var versionLine = regexp.MustCompile(`^QEMU emulator version (\d{1,4})\.(\d{1,4})\.(\d{1,4})`)

// VersionInfo is a QEMU's version.
type VersionInfo struct {
	Major, Minor, Micro int
	// Text is the first line of `--version`, with the distributor's suffix.
	Text string
}

func (v VersionInfo) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

// AtLeast compares the version with a release.
func (v VersionInfo) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// Version asks the QEMU at path for its version.
func Version(ctx context.Context, path string) (VersionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	out, err := output(ctx, Command{Path: path, Args: []string{"--version"}})
	if err != nil {
		return VersionInfo{}, fmt.Errorf("ask for QEMU's version: %w", err)
	}
	return parseVersion(out)
}

func parseVersion(out string) (VersionInfo, error) {
	line, _, _ := strings.Cut(out, "\n")
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return VersionInfo{}, fmt.Errorf("ask for QEMU's version: answer %.80q is not QEMU's", line)
	}
	v := VersionInfo{Text: strings.TrimSpace(line)}
	for i, field := range []*int{&v.Major, &v.Minor, &v.Micro} {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return VersionInfo{}, fmt.Errorf("parse QEMU's version %q: %w", line, err)
		}
		*field = n
	}
	return v, nil
}

// output runs a command to its end and returns what it printed, 64 KiB at
// most. The command is killed when ctx ends.
func output(ctx context.Context, c Command) (_ string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close() // read side
	c.Stdout = w
	p, err := Start(ctx, c)
	if err = errors.Join(err, w.Close()); p == nil || err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = p.Kill()
		_ = r.Close()
	})
	defer stop()
	text, readErr := io.ReadAll(io.LimitReader(r, 64<<10))
	_ = r.Close() // one that says more gets SIGPIPE instead of waiting
	exit, err := p.Wait(ctx)
	if err == nil {
		err = exit.Err()
	}
	if err == nil {
		err = readErr
	}
	return string(text), err
}

// CachedVersion is Version with the answer kept in dir, which need not exist: it
// is asked again when the program's path, size or time of change differs. What
// cannot be kept is asked each time.
func CachedVersion(ctx context.Context, path, dir string) (VersionInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return VersionInfo{}, fmt.Errorf("ask for QEMU's version: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", path, st.Size(), st.ModTime().UnixNano()))
	kept := filepath.Join(dir, "qemu-version-"+hex.EncodeToString(sum[:8]))
	if text, err := os.ReadFile(kept); err == nil {
		if v, err := parseVersion(string(text)); err == nil {
			return v, nil
		}
	}
	v, err := Version(ctx, path)
	if err != nil {
		return v, err
	}
	if os.MkdirAll(dir, 0o755) == nil {
		tmp := kept + ".tmp"
		if os.WriteFile(tmp, []byte(v.Text+"\n"), 0o644) == nil {
			_ = os.Rename(tmp, kept) // it only saves time
		}
	}
	return v, nil
}
