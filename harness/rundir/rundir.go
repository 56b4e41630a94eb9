// Package rundir names every file of a run's directory, and makes the
// directory.
package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/usage"
)

// The files of a run. Not every run has all of them.
const (
	Result     = "result.json"     // the Result, see package result
	Console    = "console.log"     // what the guest wrote to its UART, raw
	QEMUStderr = "qemu.stderr"     // what QEMU printed
	QMP        = "qmp.jsonl"       // each QMP line sent and received
	History    = "history.db"      // in Base: what all runs showed, see package harness/history/store
	Bisection  = "bisect.json"     // of a bisection's directory: what it found, see package bisect
	Command    = "qemu.sh"         // a script that boots the same guest by hand
	Registers  = "registers.txt"   // the vCPUs' registers, each time they were read
	Memory     = "memory.txt"      // tasks and log from the guest's memory, each time it was read
	Sockets    = "sockets"         // while the guest runs: console.in, console.out (pipes), qmp, seat, gdb, agent
	Agent      = "agent.jsonl"     // the agent's reports
	Probe      = "probe.log"       // what the guest printed during each probe, raw, after a line that begins with #
	ProbeState = "probe.qcow2"     // while probes are made: the guest as it hung
	Second     = "second"          // the directory of the second boot, like that of a run; see result.Second
	dumpPrefix = "dump-sysrq-"     // + key + ".txt": what one sysrq key printed
	dumpSuffix = ".txt"            //
	maxNameLen = 80                // of the part of a run's name that comes from outside
	stamp      = "20060102-150405" // UTC
)

// Dump is the file that holds what sysrq KEY printed.
func Dump(key byte) string { return dumpPrefix + string(rune(key)) + dumpSuffix }

// IsSecond says that a directory is that of a run's second boot: its parent is a run's.
func IsSecond(dir string) bool {
	if filepath.Base(dir) != Second {
		return false
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(dir), Result))
	return err == nil
}

// Present lists the artifacts that exist, by what they hold.
func Present(dir string) map[string]string {
	files := map[string]string{}
	for what, name := range map[string]string{
		"console": Console, "qemu-stderr": QEMUStderr, "qmp": QMP, "command": Command,
		"registers": Registers, "memory": Memory, "agent": Agent, "probe": Probe,
		"second": Second,
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			files[what] = name
		}
	}
	dumps, _ := filepath.Glob(filepath.Join(dir, dumpPrefix+"*"+dumpSuffix)) // the pattern is valid
	for _, d := range dumps {
		name := filepath.Base(d)
		files[strings.TrimSuffix(name, dumpSuffix)] = name
	}
	return files
}

// Base returns where runs are kept: $UNWEDGE_STATE, else $XDG_STATE_HOME/unwedge,
// else ~/.local/state/unwedge.
func Base() (string, error) {
	if dir := os.Getenv("UNWEDGE_STATE"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) { // the specification ignores relative ones
		return filepath.Join(dir, "unwedge"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the state directory: %w: set UNWEDGE_STATE or use --out", err)
	}
	return filepath.Join(home, ".local", "state", "unwedge"), nil
}

// New returns the directory for a run, absolute: out, which must be empty or new, or,
// where out is "", a new directory below Base, named by time, scenario and kernel.
func New(out, scenario, release string) (string, error) {
	if out == "" {
		base, err := Base()
		if err != nil {
			return "", err
		}
		return Create(base, scenario, release, time.Now())
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return "", fmt.Errorf("--out: %w", err)
	}
	if err := os.MkdirAll(out, private); err != nil {
		return "", fmt.Errorf("--out: %w", err)
	}
	return out, CheckOut(out)
}

// CheckOut reports whether New can use out: it does not exist, or is an empty
// directory.
func CheckOut(out string) error {
	if out == "" {
		return nil
	}
	left, err := os.ReadDir(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usage.Errorf("--out: %w", err)
	case len(left) > 0:
		return usage.Errorf("--out %s: the directory is not empty: name a new one, so that no run's artifacts are lost", out)
	default:
		return nil
	}
}

// private is the mode of a run's directory: it has what the guest printed and what its
// memory held, and a kept guest's sockets.
const private = 0o700

// Create makes a new directory for a run below base/runs, named by time, scenario
// and kernel. Two runs never share a directory.
func Create(base, scenario, release string, now time.Time) (string, error) {
	runs := filepath.Join(base, "runs")
	if err := os.MkdirAll(runs, private); err != nil {
		return "", fmt.Errorf("make run directory: %w", err)
	}
	name := now.UTC().Format(stamp) + "-" + Name(scenario, release)
	for i := 1; i < 10000; i++ {
		dir := filepath.Join(runs, name)
		if i > 1 {
			dir += fmt.Sprintf("-%d", i)
		}
		err := os.Mkdir(dir, private)
		if err == nil {
			return dir, nil
		}
		if !os.IsExist(err) {
			return "", fmt.Errorf("make run directory: %w", err)
		}
	}
	return "", fmt.Errorf("make run directory %s: ten thousand of that name are there", filepath.Join(runs, name))
}

// Name is a plain file name for what was booted how.
func Name(scenario, release string) string { return clean(scenario) + "-" + clean(release) }

// clean makes a plain file name of a word that may come from a guest.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._+-", r):
			return r
		default:
			return '-'
		}
	}, s)
	if len(s) > maxNameLen {
		s = s[:maxNameLen]
	}
	return strings.TrimLeft(s, ".-")
}
