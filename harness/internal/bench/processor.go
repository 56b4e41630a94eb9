package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// processor measures how much processor time unwedge itself takes, as a share of what its
// QEMU takes: of a boot, and of one that floods its console.
func (b *bench) processor(ctx context.Context) error {
	for _, a := range arch.All() {
		for _, k := range []struct {
			name, goal string
			args       []string
		}{
			{"a boot", "3", nil},
			{"a console flood of 20 MB", "5", []string{"--append", "unwedge.fault=flood:20"}},
		} {
			own := b.sample("%", "%s: unwedge's processor time, of QEMU's, %s", a, k.name)
			own.Note = "goal: " + k.goal
			args := append([]string{"boot", "--arch", string(a), "--entropy", "none", "--once"}, k.args...)
			for range b.runs {
				us, qemu, err := b.processorTimes(ctx, args...)
				if err != nil {
					return err
				}
				own.add(100 * us.Seconds() / qemu.Seconds())
			}
		}
	}
	return nil
}

// processorTimes runs the program, whatever comes of the boot, and returns its own
// processor time and that of its children. The kernel counts both in ticks of 10 ms.
func (b *bench) processorTimes(ctx context.Context, args ...string) (own, children time.Duration, err error) {
	b.count++
	args = append(args, "--quiet", "--out", filepath.Join(b.dir, fmt.Sprint("run", b.count)))
	cmd := exec.CommandContext(ctx, b.unwedge, args...)
	var msg bytes.Buffer
	cmd.Stderr = &msg
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	// The times stay readable until the process is waited for.
	ended := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	stat, bad := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return 0, 0, fmt.Errorf("unwedge %s: %w: %s", strings.Join(args, " "), err, msg.String())
	}
	if err := errors.Join(ended, bad); err != nil {
		return 0, 0, err
	}
	return parseStat(string(stat))
}

// parseStat reads utime, stime, cutime and cstime of /proc/PID/stat (proc_pid_stat(5)).
func parseStat(stat string) (own, children time.Duration, err error) {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const first = 11 // utime, counted from the state
	if len(f) < first+4 {
		return 0, 0, fmt.Errorf("/proc/PID/stat: %.100q", stat)
	}
	var n [4]time.Duration
	for i := range n {
		ticks, err := strconv.ParseInt(f[first+i], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		n[i] = time.Duration(ticks) * 10 * time.Millisecond
	}
	return n[0] + n[1], n[2] + n[3], nil
}
