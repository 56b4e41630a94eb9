package harness_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// hello is how every guest begins.
func hello(f *fake) {
	f.print("[    0.000000] Linux version "+release, "[    0.100000] smp: Brought up 1 node, 1 CPU",
		"[    0.200000] Run /init as init process")
}

// stuck says hello and then nothing.
var stuck = play{cont: hello, key: func(f *fake, key byte) { f.sysrqDump(key) }}

// onConsole is a guest that reports over the console and reaches user space.
func onConsole(extra ...string) play {
	return play{cont: func(f *fake) {
		hello(f)
		f.print("[    0.300000] unwedge-agent: "+report("init", extra...), "[    0.400000] unwedge-agent: "+report("userspace", extra...))
	}}
}

// with changes a play.
func with(p play, change func(*play)) play {
	change(&p)
	return p
}

// surveyed is how often a survey reads the registers.
const surveyed = 24

// plays are what a QEMU and its guest can do to a harness.
var plays = map[string]play{
	"boots-console": onConsole(),
	"boots-virtio": {cont: func(f *fake) {
		hello(f)
		f.tell(report("init"), report("userspace"))
	}},
	"complains-last": {
		cont: func(f *fake) { hello(f); f.tell(report("init"), report("userspace")) },
		did: func(f *fake, cmd string) {
			if cmd == "quit" {
				f.print("[    0.500000] BUG: KASAN: slab-use-after-free in demo_read+0x1/0x2", "[    0.500001] Read of size 8 at addr 0 by task init/1")
			}
		},
	},
	"other-build-id": onConsole("build_id", `"ffffffffffffffffffffffffffffffffffffffff"`),
	"other-release":  onConsole("release", `"6.1.0-\u001b[31mother"`),
	"fips-off":       onConsole("fips", "0"),
	"fips-unknown":   onConsole("fips", "null"),
	"fips-on":        onConsole("fips", "1"),
	"hwrng":          onConsole("hwrng", `"virtio_rng.0"`),
	"panics": {cont: func(f *fake) {
		hello(f)
		f.print("[    0.500000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
			"[    0.600000] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---")
	}},
	"pvpanic": {cont: func(f *fake) { hello(f); f.event("GUEST_PANICKED", `{"action":"pause"}`) }},
	"powers-off": {
		cont: func(f *fake) {
			hello(f)
			f.print("[    0.500000] reboot: Power down")
			f.setRunning(false)
			f.event("SHUTDOWN", `{"guest":true,"reason":"guest-shutdown"}`)
			f.event("STOP", "{}")
		},
		status: func(f *fake) string {
			if f.isRunning() {
				return "running"
			}
			return "shutdown"
		},
	},
	"told-to-end": {cont: func(f *fake) { hello(f); f.event("SHUTDOWN", `{"guest":false,"reason":"host-signal"}`) }},
	"qemu-error": {
		cont:   func(f *fake) { hello(f); f.event("STOP", "{}") },
		status: func(*fake) string { return "internal-error" },
	},
	"odd-events": {cont: func(f *fake) {
		f.event("RESET", `["not an object"]`)
		f.event("RTC_CHANGE", `{"offset":1}`)
		f.event("RESET", `{"guest":false,"reason":"host-qmp-system-reset"}`)
		f.event("RESET", `{"guest":false,"reason":"host-qmp-system-reset"}`)
		f.event("RESET", `{"guest":false,"reason":"host-qmp-system-reset"}`)
		onConsole().cont(f)
	}},
	"reboots": {cont: func(f *fake) {
		for { // resets at once after one another are one
			hello(f)
			f.event("RESET", `{"guest":true,"reason":"guest-reset"}`)
			<-time.After(300 * time.Millisecond) // a guest takes its time to reboot
		}
	}},
	// nmi-resets has no handler for the NMI that asks it where it is, and hangs
	// there again.
	"nmi-resets": {cont: hello, nmi: func(f *fake) {
		f.event("RESET", `{"guest":true,"reason":"guest-reset"}`)
		hello(f)
	}},
	// resets-late stalls, then resets itself, and boots.
	"resets-late": {cont: hello, key: func(f *fake, key byte) {
		if f.sysrqDump(key); key == 'q' {
			f.event("RESET", `{"guest":true,"reason":"guest-reset"}`)
			onConsole().cont(f)
		}
	}},
	"spins":    with(stuck, func(p *play) { p.spins = true }),
	"computes": with(stuck, func(p *play) { p.spins, p.counts = true, true }),
	"works":    with(stuck, func(p *play) { p.spins, p.counts, p.roams = true, true, true }),
	// works-then-halts is looked at while it works, and then ends by itself.
	"works-then-halts": {spins: true, counts: true, roams: true, cont: func(f *fake) {
		hello(f)
		for f.looks.Load() < 2*surveyed+8 { // it was suspected and surveyed, however slow the host is
			<-time.After(10 * time.Millisecond)
		}
		f.print("[    9.000000] reboot: System halted")
	}},
	"reads": with(stuck, func(p *play) { p.reads = true }),
	"hangs": stuck,
	"hangs-reports": with(stuck, func(p *play) {
		p.cont = func(f *fake) { hello(f); f.print("[    0.300000] unwedge-agent: " + report("init")) }
	}),
	"never-says": {},
	"keyboard":   with(stuck, func(p *play) { p.key, p.board = nil, func(f *fake, k byte) { f.sysrqDump(k) } }),
	"deaf":       {cont: hello},
	"no-sysrq":   {cont: hello, key: func(f *fake, _ byte) { f.print("[    9.0] sysrq: This sysrq operation is disabled.") }},
	"refuses":    {cont: hello, refuse: only("QEMU will not", "chardev-send-break", "send-key", "inject-nmi", "human-monitor-command")},
	// goes-on moves after the first capture, stalls again, and is done during
	// the second one.
	"goes-on": {cont: hello, key: func(f *fake, key byte) {
		f.sysrqDump(key)
		switch key {
		case '9':
			if f.keys++; f.keys == 2 {
				f.tell(report("userspace"))
			}
		case 'q':
			f.tell(report("init"))
		}
	}},
	// cured goes on because the keys that ask where it is feed its entropy pool.
	"cured": {cont: hello, board: func(f *fake, key byte) {
		f.sysrqDump(key)
		if key == 'q' {
			f.tell(report("userspace"))
		}
	}},
	"timer": {cont: hello, key: func(f *fake, key byte) {
		switch key {
		case 't': // nothing that is hopeless
			f.print("[   10.0] sysrq: Show State",
				"[   10.0] task:init            state:S stack:0     pid:1     ppid:0      flags:0x00000000",
				"[   10.0] Call Trace:", "[   10.0]  <TASK>", "[   10.0]  schedule+0x5a/0xd0", "[   10.0]  do_nanosleep+0x67/0x190",
				"[   10.0]  hrtimer_nanosleep+0xbe/0x1a0", "[   10.0]  __x64_sys_nanosleep+0x9f/0xe0", "[   10.0]  do_syscall_64+0x58/0xc0", "[   10.0]  </TASK>")
		default:
			f.sysrqDump(key, "[   10.0]  #0: <0000000000000000>, hrtimer_wakeup, S:01",
				"[   10.0]  # expires at 10700000000-10700050000 nsecs [in 700000000 to 700000000 nsecs]")
		}
	}},
	"exits-at-start": {start: func(*fake) {
		fmt.Fprintln(os.Stderr, "qemu-system-x86_64: \x1b[31mCould not access KVM kernel module: No such file or directory")
		syscall.Exit(1)
	}},
	"exits-fine": {start: func(*fake) { syscall.Exit(0) }},
	"dies": {cont: func(f *fake) {
		hello(f)
		fmt.Fprintln(os.Stderr, "qemu-system-x86_64: ../accel/tcg/translate-all.c:42: assertion failed")
		syscall.Exit(134)
	}},
	"dies-in-capture": {cont: hello, key: func(_ *fake, _ byte) {
		fmt.Fprintln(os.Stderr, "qemu-system-x86_64: killed by a key")
		syscall.Exit(7)
	}},
	"no-greeting":                {accept: func(f *fake) { f.ready(); select {} }},
	"garbage-greeting":           {accept: func(f *fake) { f.send("SSH-2.0-OpenSSH_9.2") }},
	"no-cpus":                    {mute: mute("query-cpus-fast")},
	"refuses-cont":               {refuse: only("Resetting the Virtual Machine is required", "cont")},
	"qmp-silent":                 {cont: hello, mute: mute("human-monitor-command", "chardev-send-break", "send-key", "inject-nmi", "query-status", "quit")},
	"qmp-garbage":                {cont: func(f *fake) { hello(f); f.send("\x00\x1b[31mgarbage") }},
	"qmp-closes":                 {cont: func(f *fake) { hello(f); f.qmp.Close() }},
	"console-closes":             {cont: func(f *fake) { hello(f); f.console.Close(); f.tell(report("init"), report("userspace")) }},
	"console-closes-and-silence": {cont: func(f *fake) { hello(f); f.console.Close() }},
	"agent-garbage": {cont: func(f *fake) {
		hello(f)
		f.tell("", "garbage", "{", `{"v":2,"stage":"userspace"}`, `{"v":1}`, "[]", "\x00\xff\x1b[2J", `{"v":1,"stage":5}`)
		f.tell(report("init"))
	}},
	"agent-long-line": {cont: func(f *fake) {
		hello(f)
		f.tell(strings.Repeat("x", 1<<20), `{"v":1,"stage":"`+strings.Repeat("y", 100<<10)+`"}`, report("init"))
	}},
	"agent-floods": {cont: func(f *fake) {
		hello(f)
		for {
			f.tell(report("init"))
		}
	}},
	"agent-floods-garbage": {cont: func(f *fake) {
		hello(f)
		for {
			f.tell("\x1b]0;garbage")
		}
	}},
	"console-floods": {cont: func(f *fake) {
		hello(f)
		for i := 0; ; i++ {
			f.print(fmt.Sprintf("[    1.0] flood %d unwedge-agent: {\"v\":1,", i))
		}
	}},
	"boots-slowly": {cont: func(f *fake) {
		for i := range 1 << 30 {
			f.print("[    1.0] " + letters(i))
			<-time.After(10 * time.Millisecond) // a guest takes its time
		}
	}},
	"spoils-log": with(stuck, func(p *play) {
		p.cont = func(f *fake) { hello(f); takeLog(f) }
	}),
	"spoils-dumps": with(stuck, func(p *play) {
		p.start = func(f *fake) { f.spoil("registers.txt"); f.spoil("dump-sysrq-t.txt") }
	}),
	"spoils-reports": with(onConsole(), func(p *play) { p.start = func(f *fake) { f.spoil("agent.jsonl") } }),
	"waits-ready":    {cont: func(f *fake) { hello(f); f.ready() }},
}

// letters writes a number so that no line looks like another.
func letters(n int) string {
	b := []byte{}
	for ; n > 0 || len(b) == 0; n /= 20 {
		b = append(b, byte('g'+n%20))
	}
	return string(b)
}

// takeLog puts a directory where the console log was.
func takeLog(f *fake) {
	p := filepath.Join(f.dir, "console.log")
	if err := os.Remove(p); err != nil {
		panic(err)
	}
	if err := os.Mkdir(p, 0o755); err != nil {
		panic(err)
	}
}

func mute(cmds ...string) func(string) bool {
	return func(c string) bool { return strings.Contains(" "+strings.Join(cmds, " ")+" ", " "+c+" ") }
}

func only(why string, cmds ...string) func(string) string {
	return func(c string) string {
		if mute(cmds...)(c) {
			return why
		}
		return ""
	}
}
