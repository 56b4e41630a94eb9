package dump

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/internal/console"
)

// writer says who wrote a line without a stamp in a piece of a log, before any
// banner: what no firmware prints is the kernel's or user space's.
func writer(b []byte) Source {
	if bytes.IndexByte(b, 0x1b) >= 0 {
		b = console.Strip(b)
	}
	t := bytes.TrimLeft(b, " \t")
	switch {
	case len(t) < 4:
		return SourceFirmware
	case isKernelText(t):
		return SourceKernel
	case isUserText(t):
		return SourceUserspace
	}
	return SourceFirmware
}

// kernelTexts begin lines that only a kernel prints.
var kernelTexts = []string{
	"Call Trace:", "Call trace:", "Modules linked in:", "Kernel command line: ", "Hardware name: ", "---[ ", "RIP: 0010:",
	"sysrq: ", "SysRq : ", "NMI backtrace for cpu ", "VFS: ", "Workqueue: ", "Mem-Info:", "Freeing unused kernel ",
	"random: crng ", "smp: Brought up", "Run /", "#PF: ",
}

func isKernelText(b []byte) bool {
	for _, w := range kernelTexts {
		if hasPrefix(b, w) {
			return true
		}
	}
	if isReportStart(b) {
		return true
	}
	if _, ok := parseHeader(b); ok {
		return true
	}
	if _, ok := parseCPULine(b); ok {
		return true
	}
	_, ok := parseFrame(b)
	return ok
}

// userTexts begin lines that only user space prints: systemd's status
// (src/core/unit-printf.c), initramfs-tools, dracut, mkinitcpio, BusyBox, sysvinit.
var userTexts = []string{
	"[  OK  ]", "[FAILED]", "[DEPEND]", "[ TIME ]", "[ INFO ]", "[ WARN ]", "[ SKIP ]", "[UNSUPP]", "[ASSERT]", "[*", "[ *", "[  *", "[   *", "[    *", "[     *",
	"Begin: ", "done.", "ALERT!", "Gave up waiting", "(initramfs)", "BusyBox v", "dracut", "Starting version ", ":: ", "<<< NixOS", "INIT: ", "Welcome to ", "/init: ",
	"Loading, please wait", "Press Enter for ", "You are in emergency mode", "Give root password", "Cannot open access to console", "Reached target ",
	"ERROR: device ", "ERROR: Failed to mount ", "Mounting root: ", "mount: ", "switch_root: ", "Please unlock disk ", "Please enter passphrase", "Enter passphrase",
	"systemd-", "udevd", "fsck", "/dev/", "Starting syslogd", "Starting klogd", " * ",
}

func isUserText(b []byte) bool {
	for _, w := range userTexts {
		if hasPrefix(b, w) {
			return true
		}
	}
	if isUserTag(b) || isPrompt(b) {
		return true
	}
	rule := findRule(b)
	return rule != nil && rule.kind != EventIOError
}

// isPrompt recognises the prompt of a shell or of login, alone on its line or with
// what was typed behind it:
//
//	host login:      getty
//	/ #   ~ $        BusyBox
//	sh-5.2#          bash without a profile
//	root@host:~#     bash, zsh
//	[root@host ~]#
func isPrompt(b []byte) bool {
	b = trim(b)
	if bytes.HasSuffix(b, []byte(" login:")) || string(b) == "login:" {
		return true
	}
	e := bytes.IndexAny(b[:min(len(b), 80)], "#$")
	if e < 0 || e+1 < len(b) && b[e+1] != ' ' {
		return false
	}
	p := b[:e]
	if n := len(p); n > 0 && p[n-1] == ' ' {
		p = p[:n-1]
		return len(p) > 0 && (p[0] == '/' || p[0] == '~') && bytes.IndexByte(p, ' ') < 0
	}
	switch {
	case len(p) == 0:
		return len(b) == 1
	case hasPrefix(p, "sh-"), hasPrefix(p, "bash-"), hasPrefix(p, "-sh-"):
		return allDigits(p[len(p)-1:])
	case p[0] == '[' && p[len(p)-1] == ']':
		p = p[1 : len(p)-1]
	}
	at := bytes.IndexByte(p, '@')
	if at <= 0 {
		return false
	}
	for _, c := range p[:at] {
		if !isWord(c) && c != '-' {
			return false
		}
	}
	return bytes.IndexAny(p[at:], ":~/ ") > 0
}
