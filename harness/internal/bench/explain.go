package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// explainSize is how long the logs are that `unwedge explain` is given, in bytes.
const explainSize = 12 << 20

// explain measures `unwedge explain` on whole logs, from the start of the process to
// its end, by the processor time that it takes on one core: what else the machine does
// then counts little.
func (b *bench) explain(ctx context.Context) error {
	dir := filepath.Join(b.dir, "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, l := range explainLogs() {
		path := filepath.Join(dir, l.name+".log")
		log := l.make()
		if err := os.WriteFile(path, log, 0o644); err != nil {
			return err
		}
		s := b.sample("MB/s", "unwedge explain, %s, %.0f MB, per core, start-up included", l.what, float64(len(log))/1e6)
		s.Note = "goal: 100"
		for range b.runs {
			secs, err := b.explainOnce(ctx, path)
			if err != nil {
				return err
			}
			s.add(float64(len(log)) / 1e6 / secs)
		}
	}
	return nil
}

// explainOnce is the processor time of one run, in seconds.
func (b *bench) explainOnce(ctx context.Context, path string) (float64, error) {
	cmd := exec.CommandContext(ctx, b.unwedge, "explain", path)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || len(out) == 0) { // 1 is an answer, too
		return 0, fmt.Errorf("explain %s: %w", path, err)
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// explainLog is a log that the command makes.
type explainLog struct {
	name, what string
	make       func() []byte
}

func explainLogs() []explainLog {
	return []explainLog{
		{"boots", "boots that came through", func() []byte { return grown(bootText(400) + "host login: \n") }},
		{"dumps", "task dumps", func() []byte { return grown(bootText(20) + taskDump(80)) }},
		{"reports", "many small reports", func() []byte { return grown(bootText(20) + oopses(20)) }},
		{"actions", "boots, stamped by GitHub Actions", func() []byte {
			const stamp = "2026-05-01T10:00:01.1234567Z "
			return grown(stamp + strings.ReplaceAll(strings.TrimSuffix(bootText(400), "\n"), "\n", "\n"+stamp) + "\n")
		}},
	}
}

func grown(part string) []byte { return bytes.Repeat([]byte(part), 1+explainSize/len(part)) }

// bootText is what a boot prints: of each three lines one is user space's.
func bootText(lines int) string {
	var s strings.Builder
	s.WriteString("[    0.000000] Linux version 6.12.0 (builder@build) (gcc 14.2.0) #1 SMP PREEMPT_DYNAMIC\n[    0.000000] Command line: root=/dev/vda1 ro console=ttyS0\n")
	for i := range lines {
		t := float64(i) / 100
		switch i % 3 {
		case 0:
			fmt.Fprintf(&s, "[%12.6f] pci 0000:00:%02x.%d: BAR 4 [mem 0x%08x-0x%08x 64bit pref]: assigned\n", t, i%32, i%8, i<<14, i<<14+0x3fff)
		case 1:
			fmt.Fprintf(&s, "[%12.6f] usb %d-%d: New USB device found, idVendor=1d6b, idProduct=%04x, bcdDevice= 6.12\n", t, i%4, i%7, i)
		default:
			fmt.Fprintf(&s, "[%12.6f] systemd[1]: Started demo-%d.service - Service number %d of this boot.\n", t, i, i)
		}
	}
	return s.String()
}

// taskDump is a sysrq-t of some tasks.
func taskDump(tasks int) string {
	var s strings.Builder
	s.WriteString("[   50.000000] sysrq: Show State\n")
	for i := range tasks {
		fmt.Fprintf(&s, "[   50.000000] task:worker-%-8d state:S stack:0     pid:%-5d tgid:%-5d ppid:1      flags:0x00004002\n[   50.000000] Call Trace:\n[   50.000000]  <TASK>\n", i, 100+i, 100+i)
		for _, fn := range []string{"__schedule", "schedule", "schedule_hrtimeout_range_clock", "ep_poll", "do_epoll_wait", "__x64_sys_epoll_wait", "do_syscall_64", "entry_SYSCALL_64_after_hwframe"} {
			fmt.Fprintf(&s, "[   50.000000]  %s+0x%x/0x%x\n", fn, 16+i, 4096)
		}
		s.WriteString("[   50.000000] RIP: 0033:0x7f2b4c51f5b9\n[   50.000000] RSP: 002b:00007ffd0b2c9f18 EFLAGS: 00000246 ORIG_RAX: 00000000000000e8\n[   50.000000]  </TASK>\n")
	}
	return s.String()
}

// oopses are crashes one after the other.
func oopses(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `[   20.%06d] BUG: kernel NULL pointer dereference, address: 0000000000000010
[   20.%06[1]d] #PF: supervisor read access in kernel mode
[   20.%06[1]d] Oops: Oops: 0000 [#%[1]d] PREEMPT SMP NOPTI
[   20.%06[1]d] CPU: 0 UID: 0 PID: %[1]d Comm: demo Not tainted 6.12.0 #1
[   20.%06[1]d] RIP: 0010:demo_open_%[1]d+0x1c/0x60
[   20.%06[1]d] Call Trace:
[   20.%06[1]d]  <TASK>
[   20.%06[1]d]  chrdev_open+0xb0/0x250
[   20.%06[1]d]  do_dentry_open+0x1f5/0x4a0
[   20.%06[1]d]  </TASK>
[   20.%06[1]d] ---[ end trace 0000000000000000 ]---
`, i+1)
	}
	return s.String()
}
