package dump

import (
	"bytes"
	"regexp"
	"strconv"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Stage is how far a boot got, judging by the console.
type Stage string

// The stages, in the order a boot passes them. Not every boot passes all.
const (
	StageNone       Stage = "none"       // nothing was printed
	StageFirmware   Stage = "firmware"   // SeaBIOS, UEFI, U-Boot
	StageLoader     Stage = "loader"     // EFI stub, "Starting kernel ..."
	StageDecompress Stage = "decompress" // the kernel's own unpacker
	StageEarly      Stage = "early"      // "Linux version"
	StageInitcalls  Stage = "initcalls"  // all CPUs up, drivers initialise
	StageRootWait   Stage = "root-wait"  // the kernel waits for root= itself
	StageInit       Stage = "init"       // "Run /init as init process"
	StageInitramfs  Stage = "initramfs"  // dracut, initramfs-tools or systemd in it
	StageSwitchRoot Stage = "switch-root"
	StageSystem     Stage = "system" // services of the root file system
	StageLogin      Stage = "login"
)

var stageOrder = []Stage{
	StageNone, StageFirmware, StageLoader, StageDecompress, StageEarly, StageInitcalls, StageRootWait,
	StageInit, StageInitramfs, StageSwitchRoot, StageSystem, StageLogin,
}

// Rank is the place of a stage in the order of a boot, -1 for an unknown one.
func (s Stage) Rank() int {
	for i, t := range stageOrder {
		if s == t {
			return i
		}
	}
	return -1
}

// EventKind is what a line of the boot says.
type EventKind string

// The kinds of events. A line that package notice knows gives one whose kind is
// the notice's name.
const (
	EventStartJob      EventKind = "start-job"      // systemd: A start job is running for SUBJECT
	EventTimedOut      EventKind = "timed-out"      // systemd: Timed out waiting for device SUBJECT
	EventUnitFailed    EventKind = "unit-failed"    // systemd: Failed to start SUBJECT
	EventDependency    EventKind = "dependency"     // systemd: Dependency failed for SUBJECT
	EventTarget        EventKind = "target"         // systemd: Reached target SUBJECT
	EventEmergency     EventKind = "emergency"      // emergency mode or shell
	EventFreezing      EventKind = "freezing"       // systemd: Freezing execution
	EventDracutTimeout EventKind = "dracut-timeout" // dracut-initqueue gave up waiting
	EventHooks         EventKind = "dracut-hooks"   // dracut: the list of hooks that it still waits for begins
	EventHook          EventKind = "dracut-hook"    // dracut still waits for its hook SUBJECT
	EventNoDevice      EventKind = "no-device"      // dracut or initramfs-tools: device SUBJECT does not exist
	EventRootWait      EventKind = "root-wait"      // kernel: Waiting for root device SUBJECT
	EventRootOpen      EventKind = "root-open"      // kernel: cannot open root device SUBJECT
	EventFIPS          EventKind = "fips"           // FIPS integrity test failed
	EventFatal         EventKind = "dracut-fatal"   // dracut: FATAL: SUBJECT
	EventRefusing      EventKind = "refusing"       // dracut: Refusing to continue
	EventHMAC          EventKind = "hmac"           // the kernel's HMAC file is missing or wrong
	EventSelfTest      EventKind = "self-test"      // alg: self-test failed for SUBJECT
	EventCRNG          EventKind = "crng-done"      // random: crng init done
	EventURandom       EventKind = "urandom-read"   // random: uninitialized urandom read
	EventHWRNG         EventKind = "hwrng"          // a hardware random number generator was found
	EventNoInit        EventKind = "no-init"        // init is missing or cannot be run
	EventShellRun      EventKind = "shell-run"      // kernel: it runs /bin/sh as init
	EventBinfmt        EventKind = "binfmt"         // kernel: no handler for a program's format, and modprobe binfmt-SUBJECT does not end
	EventInitramfs     EventKind = "initramfs"      // the initramfs was unpacked (init/initramfs.c)
	EventInitramfsBad  EventKind = "initramfs-bad"  // the initramfs cannot be unpacked
	EventSwitchFailed  EventKind = "switch-failed"  // switch_root failed
	EventInitcall      EventKind = "initcall"       // initcall_debug: a call that did not return
	EventIOError       EventKind = "io-error"       // block or file system errors
	EventLoaderError   EventKind = "loader-error"   // EFI stub: ERROR
	EventFileSystem    EventKind = "file-system"    // the kernel says why a file system or its device cannot be used (SUBJECT, the line)
	EventShutdown      EventKind = "shutdown"       // user space shuts the machine down
	EventFIPSUnknown   EventKind = "fips-unknown"   // the kernel does not know fips=1
	EventFIPSStep      EventKind = "fips-step"      // what dracut's FIPS check does next (SUBJECT)
	EventTcrypt        EventKind = "tcrypt"         // modprobe reports that tcrypt did not load
	EventFIPSMode      EventKind = "fips-mode"      // the kernel runs in FIPS mode
	EventModuleBad     EventKind = "module-bad"     // a module was refused
	EventImitation     EventKind = "imitation"      // user space prints what looks like a fault or a task dump
	EventLeak          EventKind = "memory-leak"    // kmemleak suspects leaks (SUBJECT)
	EventFirmwareBug   EventKind = "firmware-bug"   // the kernel complains of the firmware (SUBJECT)
	EventHardware      EventKind = "hardware-error" // the kernel was told of an error of the hardware (SUBJECT)
)

// Event is one thing that happened during a boot. Repetitions are merged.
type Event struct {
	Kind EventKind `json:"kind"`
	// Subject is what it is about: a unit, a device, a function.
	Subject string `json:"subject,omitempty"`
	// Elapsed and Limit are systemd's two times of a start job, as printed.
	Elapsed string `json:"elapsed,omitempty"`
	Limit   string `json:"limit,omitempty"`
	// Text is the line of the last occurrence.
	Text string `json:"text"`
	// Offset and End are the range of the last occurrence in the log.
	Offset  int64   `json:"offset"`
	End     int64   `json:"end"`
	Time    float64 `json:"time,omitempty"`
	HasTime bool    `json:"has_time,omitempty"`
	Count   int     `json:"count"`
	// Boot is the number of the boot in the log, from 0.
	Boot int `json:"boot"`
}

// Banner is one start of a kernel.
type Banner struct {
	Release string `json:"release"`
	Offset  int64  `json:"offset"`
}

// Initcall is a call that initcall_debug has seen return.
type Initcall struct {
	// Name is the function's, Module the module's that it is of, "" for the kernel's own.
	Name, Module string
	// Took is how long it took, by the guest's clock.
	Took time.Duration
}

// Which initcalls are kept.
const (
	MinInitcall  = time.Millisecond
	MaxInitcalls = 512
)

// Boot is what the console shows of the boot, or boots.
type Boot struct {
	// Stage is the last stage that the last boot reached.
	Stage Stage `json:"stage"`
	// StageText is the line that showed it.
	StageText   string `json:"stage_text,omitempty"`
	StageOffset int64  `json:"stage_offset"`
	// Kernels are the kernel banners; KernelCount counts them all.
	Kernels     []Banner `json:"kernels,omitempty"`
	KernelCount int      `json:"kernel_count"`
	// FirmwareCount counts the firmware banners (SeaBIOS, U-Boot, UEFI).
	FirmwareCount int `json:"firmware_count,omitempty"`
	// KernelRuns says that a kernel or what it started has spoken since firmware
	// or a boot loader began last.
	KernelRuns bool    `json:"kernel_runs,omitempty"`
	Cmdline    string  `json:"cmdline,omitempty"`
	Events     []Event `json:"events,omitempty"`
	// LastText, LastOffset and LastTime belong to the last record of the log;
	// LastSource is a guess at who wrote it.
	LastText   string  `json:"last_text,omitempty"`
	LastOffset int64   `json:"last_offset"`
	LastEnd    int64   `json:"last_end"`
	LastTime   float64 `json:"last_time,omitempty"`
	LastSource Source  `json:"last_source,omitempty"`
	// Prompt says that user space printed a prompt last, of a shell or of login, at
	// PromptOffset.
	Prompt       bool  `json:"prompt,omitempty"`
	PromptOffset int64 `json:"-"`
	// Initcalls are those of the last boot that have returned, with initcall_debug, in
	// order and at most MaxInitcalls; those that took less than MinInitcall are left out.
	Initcalls []Initcall `json:"-"`
	// KernelRecords and UserRecords count the records by writer.
	KernelRecords int `json:"kernel_records"`
	UserRecords   int `json:"user_records"`

	last []byte
}

// Release is the release of the last kernel banner, "" if there is none.
func (b *Boot) Release() string {
	if len(b.Kernels) == 0 {
		return ""
	}
	return b.Kernels[len(b.Kernels)-1].Release
}

// Event returns the last event of a kind in the last boot.
func (b *Boot) Event(kind EventKind) (Event, bool) {
	var out Event
	ok := false
	for _, e := range b.Events {
		if e.Kind == kind && e.Boot == b.current() && (!ok || e.Offset >= out.Offset) {
			out, ok = e, true
		}
	}
	return out, ok
}

// All returns the events of a kind in the last boot, in the order of their last
// occurrence.
func (b *Boot) All(kind EventKind) []Event {
	var out []Event
	for _, e := range b.Events {
		if e.Kind == kind && e.Boot == b.current() {
			out = append(out, e)
		}
	}
	return out
}

// current is the number of the last boot.
func (b *Boot) current() int { return max(0, b.KernelCount-1) }

func (b *Boot) finish() {
	b.LastText = clip(b.last)
	b.last = nil
	if b.Stage == "" {
		b.Stage = StageNone
	}
}

// reach moves the boot forward to a stage, never back.
func (b *Boot) reach(s Stage, text []byte, r Record) {
	if s.Rank() > b.Stage.Rank() {
		b.Stage, b.StageText, b.StageOffset = s, clip(text), r.Offset
	}
}

// other reads the lines that belong to no dump or report: milestones and events.
func (p *parser) other(b []byte, r Record) {
	bo := &p.d.Boot
	plain := b
	if r.Source != SourceKernel {
		if plain = console.Strip(b); len(trim(plain)) == 0 {
			return
		}
	}
	bo.last = append(bo.last[:0], plain[:min(len(plain), 300)]...)
	bo.LastOffset, bo.LastEnd, bo.LastSource = r.Offset, r.End, r.Source
	if r.HasTime && !r.Wall {
		bo.LastTime = r.Time
	}
	if bl := p.block(r.Caller); bl != nil && !p.users(r) {
		if bl.report >= 0 {
			p.detail(bl, plain)
		}
		bl.idle++
		if bl.idle > maxIdle {
			p.close(r.Caller)
		}
	}
	switch r.Source {
	case SourceKernel:
		bo.KernelRecords++
		p.kernelLine(plain, r)
	case SourceUserspace:
		bo.UserRecords++
		bo.Prompt, bo.PromptOffset = isPrompt(plain), r.Offset
		p.userLine(plain, r)
	case SourceFirmware:
		p.firmwareLine(plain, r)
	}
	p.ruleLine(plain, r)
}

func (p *parser) firmwareLine(b []byte, r Record) {
	bo := &p.d.Boot
	if bo.Stage == "" || bo.Stage == StageNone {
		bo.reach(StageFirmware, b, r)
	}
	switch {
	case isFirmwareStart(b):
		bo.FirmwareCount++
	case hasPrefix(b, "Starting kernel ..."):
		bo.reach(StageLoader, b, r)
	case hasPrefix(b, "early console in"), hasPrefix(b, "Decompressing Linux"):
		bo.reach(StageDecompress, b, r)
	}
}

// kernelLine reads the milestones the kernel prints.
func (p *parser) kernelLine(b []byte, r Record) {
	bo := &p.d.Boot
	switch b[0] {
	case 'L':
		if hasPrefix(b, "Linux version ") {
			p.banner(b, r)
		}
	case 'E':
		if hasPrefix(b, "EFI stub: ERROR") {
			p.event(Event{Kind: EventLoaderError}, b, r)
		}
		if hasPrefix(b, "EFI stub: ") {
			bo.reach(StageLoader, b, r)
		}
	case 'e', 'D', 'P', 'U':
		if isKernelStart(b) {
			if bo.KernelCount > 0 && bo.Stage.Rank() > StageEarly.Rank() {
				bo.Stage = StageNone // a reset: the banner will count it
			}
			bo.reach(StageDecompress, b, r)
		}
	case 'B':
		if hasPrefix(b, "Booting Linux on physical CPU") { // arm's first line
			if p.d.Arch == "" {
				p.d.Arch = isa.ByFirstLine(b)
			}
			if bo.KernelCount > 0 && bo.Stage.Rank() > StageEarly.Rank() {
				bo.Stage = StageNone
			}
			bo.reach(StageEarly, b, r)
		}
	case 's':
		if hasPrefix(b, "smp: Brought up") {
			bo.reach(StageInitcalls, b, r)
		}
	case 'K', 'C':
		if i := bytes.Index(b, []byte("ommand line: ")); i > 0 && i < 9 && bo.KernelCount > 0 {
			bo.Cmdline = string(console.Strip(b[i+len("ommand line: ") : min(len(b), 4096)]))
		}
	case 'W':
		if hasPrefix(b, "Waiting for root device ") {
			bo.reach(StageRootWait, b, r)
			p.event(Event{Kind: EventRootWait, Subject: clip(bytes.TrimRight(b[len("Waiting for root device "):], "."))}, b, r)
		}
	case 'R':
		if hasPrefix(b, "Run ") && bytes.HasSuffix(b, []byte(" as init process")) {
			bo.reach(StageInit, b, r)
		}
	case 'F':
		if hasPrefix(b, "Freeing unused kernel ") {
			bo.reach(StageInitcalls, b, r)
		}
	case 'c':
		if hasPrefix(b, "calling  ") {
			p.initcall(b[len("calling  "):], b, r, true)
			bo.reach(StageInitcalls, b, r)
		}
	case 'i':
		if hasPrefix(b, "initcall ") {
			p.initcall(b[len("initcall "):], b, r, false)
			p.d.Boot.returned(b)
		}
	}
}

// banner starts a new boot.
func (p *parser) banner(b []byte, r Record) {
	bo := &p.d.Boot
	rel := b[len("Linux version "):]
	if i := bytes.IndexByte(rel, ' '); i > 0 {
		rel = rel[:i]
	}
	// dmesg and the early console print it twice at one stamp.
	p.closeAll()
	p.endSection("")
	if bo.KernelCount == 0 && (bo.LastTime > 1 || bo.UserRecords >= 3 && len(bo.Events)+len(p.d.Reports) > 0) {
		bo.KernelCount, bo.Kernels = 1, append(bo.Kernels, Banner{}) // the end of a boot before it
	}
	bo.KernelCount++
	p.calls, bo.Initcalls = nil, nil
	if len(bo.Kernels) < 64 {
		bo.Kernels = append(bo.Kernels, Banner{})
	}
	bo.Kernels[len(bo.Kernels)-1] = Banner{Release: clip(rel), Offset: r.Offset}
	bo.Stage, bo.Cmdline, bo.Prompt = StageNone, "", false
	bo.reach(StageEarly, b, r)
	if a := bannerArch(rel, b); a != "" {
		p.d.Arch = a
	}
}

// bannerArch is the architecture that a banner names: in the release, else by its
// compiler.
func bannerArch(release, banner []byte) arch.Arch {
	for _, a := range arch.All() {
		if bytes.Contains(release, []byte(a)) || bytes.Contains(release, []byte(a.Facts().Debian)) {
			return a
		}
	}
	for _, a := range arch.All() {
		if bytes.Contains(banner, []byte(a.Facts().Multiarch)) {
			return a
		}
	}
	return ""
}

// initcall remembers the calls of initcall_debug that have not returned.
func (p *parser) initcall(fn, b []byte, r Record, enter bool) {
	if i := bytes.IndexByte(fn, '+'); i > 0 {
		fn = fn[:i]
	}
	name := clip(fn)
	for i := len(p.calls) - 1; i >= 0; i-- {
		if p.calls[i].Subject == name {
			p.calls = append(p.calls[:i], p.calls[i+1:]...)
			break
		}
	}
	if !enter {
		return
	}
	if len(p.calls) >= 64 {
		p.calls = p.calls[1:]
	}
	e := Event{Kind: EventInitcall, Subject: name, Text: clip(b), Offset: r.Offset, End: r.End, Time: r.Time, HasTime: r.HasTime, Count: 1}
	e.Boot = p.d.Boot.current()
	p.calls = append(p.calls, e)
}

// returned is how initcall_debug says that a call has returned (init/main.c,
// trace_initcall_finish_cb).
var returned = regexp.MustCompile(`^initcall ([^ +]+)\+\S+(?: \[([^\] ]+)\])? returned -?\d+ after (\d+) usecs`)

// returned keeps how long an initcall took.
func (bo *Boot) returned(b []byte) {
	m := returned.FindSubmatch(b)
	if m == nil || len(bo.Initcalls) >= MaxInitcalls {
		return
	}
	usecs, err := strconv.ParseInt(string(m[3]), 10, 32) // half an hour
	if took := time.Duration(usecs) * time.Microsecond; err == nil && took >= MinInitcall {
		bo.Initcalls = append(bo.Initcalls, Initcall{clip(m[1]), clip(m[2]), took})
	}
}

func (p *parser) eventKey(k EventKind, subject string) string {
	return string(k) + "\x00" + subject + "\x00" + string(rune(p.d.Boot.current()))
}

// event stores or repeats an event.
func (p *parser) event(e Event, b []byte, r Record) {
	bo := &p.d.Boot
	e.Text, e.Offset, e.End, e.Boot, e.Count = clip(b), r.Offset, r.End, bo.current(), 1
	if r.HasTime && !r.Wall {
		e.Time, e.HasTime = r.Time, true
	}
	key := p.eventKey(e.Kind, e.Subject)
	if i, ok := p.events[key]; ok {
		e.Count += bo.Events[i].Count
		bo.Events[i] = e
		return
	}
	if len(bo.Events) >= MaxEvents {
		p.d.Dropped++
		return
	}
	p.events[key] = len(bo.Events)
	bo.Events = append(bo.Events, e)
}
