package dump

import (
	"bytes"
	"strings"
)

// userLine reads the milestones that user space prints.
func (p *parser) userLine(b []byte, r Record) {
	bo := &p.d.Boot
	switch {
	case bytes.Contains(b, []byte("witching root")) || bytes.Contains(b, []byte("Switch Root")) && !bytes.Contains(b, []byte("Starting")) && !bytes.Contains(b, []byte("Failed")):
		if bytes.Contains(b, []byte("Reached target")) {
			bo.reach(StageInitramfs, b, r)
		} else {
			bo.reach(StageSwitchRoot, b, r)
		}
	case bytes.Contains(b, []byte("running in system mode")):
		// systemd prints it in an initramfs, too, before "Running in initrd".
		if bo.Stage == StageSwitchRoot || bo.Stage == StageInit && !strings.HasPrefix(bo.StageText, "Run /init ") {
			bo.reach(StageSystem, b, r)
		} else {
			bo.reach(StageInit, b, r)
		}
	case bytes.Contains(b, []byte("Running in initrd")), bytes.Contains(b, []byte("Running in initial RAM disk")),
		bytes.Contains(b, []byte("dracut")), hasPrefix(b, "Loading, please wait"), hasPrefix(b, "Begin: "),
		hasPrefix(b, "<<< NixOS Stage 1"), hasPrefix(b, ":: running "), hasPrefix(b, "Alpine Init "), hasPrefix(b, "Mounting boot media"), isInitramfsPrompt(b):
		bo.reach(StageInitramfs, b, r)
	case hasPrefix(b, "<<< NixOS Stage 2"), hasPrefix(b, "OpenRC ") && bytes.Contains(b, []byte("is starting up")), hasPrefix(b, "INIT: version ") && bytes.Contains(b, []byte("booting")):
		bo.reach(StageSystem, b, r)
	case bytes.HasSuffix(b, []byte(" login:")):
		bo.reach(StageLogin, b, r)
	case bo.Stage == StageSwitchRoot && (bytes.Contains(b, []byte("Welcome to ")) || bytes.Contains(b, []byte("[  OK  ]"))):
		bo.reach(StageSystem, b, r)
	}
	if isInitramfsPrompt(b) {
		p.event(Event{Kind: EventEmergency}, b, r)
	}
	if i := bytes.Index(b, []byte("Reached target ")); i >= 0 {
		t := bytes.TrimRight(b[i+len("Reached target "):], ". ")
		if string(t) == "multi-user.target" || bytes.Contains(t, []byte("Multi-User")) {
			bo.reach(StageSystem, b, r)
		}
		p.event(Event{Kind: EventTarget, Subject: clip(t)}, b, r)
	}
	if i := bytes.Index(b, []byte(" job is running for ")); i >= 0 {
		p.startJob(b[i+len(" job is running for "):], b, r)
	} else if i := bytes.Index(b, []byte("/start running (")); i > 0 {
		// StatusUnitFormat=name or combined: `(1 of 2) Job foo.service/start running (5s / no limit)`
		if j := bytes.LastIndex(b[:i], []byte("Job ")); j >= 0 {
			job := append([]byte(nil), b[j+len("Job "):i]...)
			p.startJob(append(append(job, ' '), b[i+len("/start running "):]...), b, r)
		}
	}
}

// startJob reads `X (1min 2s / no limit)`. The unit may hold parentheses and may
// be cut with an ellipsis.
func (p *parser) startJob(s, b []byte, r Record) {
	e := Event{Kind: EventStartJob}
	s = trim(s)
	if i := bytes.LastIndexByte(s, '('); i > 0 {
		times := string(bytes.TrimRight(s[i+1:], ") "))
		if el, lim, ok := strings.Cut(times, " / "); ok {
			e.Elapsed, e.Limit = clip([]byte(el)), clip([]byte(lim))
			s = trim(s[:i])
		}
	}
	e.Subject = clip(s)
	p.event(e, b, r)
}

// isInitramfsPrompt recognises the prompts of emergency shells: initramfs-tools and
// live-boot, mkinitcpio (old and new), dracut.
func isInitramfsPrompt(b []byte) bool {
	return hasPrefix(b, "(initramfs)") || hasPrefix(b, "[rootfs ") || hasPrefix(b, "[ramfs ") || hasPrefix(b, "dracut:/#")
}
