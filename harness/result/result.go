// Package result owns result.json, the one document that a boot leaves behind:
// every word that a reader of it meets has its meaning here. Every report is drawn
// from it and nothing else. Its JSON Schema is made from the types and comments of
// this package.
package result

//go:generate go test ../internal/schematest -update

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Schema is the version of the document. A reader that knows "unwedge/result/1"
// can read all later documents of that version: fields and words are added, never
// changed.
const Schema = "unwedge/result/1"

//go:embed schema.json
var schemaJSON string

// JSONSchema describes the document, every field of it, as a JSON Schema of
// draft 2020-12.
func JSONSchema() string { return schemaJSON }

// Result is what one boot showed. Times ending in _ns are nanoseconds of wall
// time, those ending in _s seconds of guest time. Texts may hold what a guest sent:
// make them safe before they go to a terminal. Later versions add fields and words;
// readers must tolerate those they do not know.
type Result struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// Version is the version of unwedge that wrote it.
	Version string `json:"unwedge_version"`
	// Scenario is what was booted and what had to happen.
	Scenario scenarios.Scenario `json:"scenario"`
	// Kernel is the candidate, and which file of it was booted.
	Kernel Kernel `json:"kernel"`
	// Outcome is how the boot ended.
	Outcome scenarios.Outcome `json:"outcome"`
	// Expected says whether the boot ended as the scenario asks.
	Expected bool `json:"expected"`
	// Why is one sentence on the outcome.
	Why string `json:"why"`
	// Confidence is how sure the outcome is. The diagnosis has a confidence of its
	// own.
	Confidence Confidence `json:"confidence,omitempty"`
	// Modules are the external modules that were tried, in order.
	Modules []Module `json:"modules,omitempty"`
	// Stage is the last stage that the agent reported; where no agent did, the last that
	// the console showed.
	Stage stage.Stage `json:"stage,omitempty"`
	// Reports are the agent's reports, oldest first, at most 256.
	Reports []agentproto.Report `json:"reports,omitempty"`
	// Host is what the guest ran on.
	Host Host `json:"host"`
	// Times are how long things took.
	Times Times `json:"times"`
	// Resets is how often the guest reset itself.
	Resets int `json:"resets"`
	// Stalls are all times that the boot was suspected to hang, also those after
	// which it made progress.
	Stalls []Stall `json:"stalls,omitempty"`
	// Events are QMP events in order, at most 1000.
	Events []Event `json:"events,omitempty"`
	// Console says how much the guest printed.
	Console Console `json:"console"`
	// Diagnosis says where the boot is blocked and why; nil if it booted.
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`
	// KnownFailure is the entry of the user's list of what is known that a boot that failed
	// matches: such a failure does not count.
	KnownFailure *Known `json:"known_failure,omitempty"`
	// Findings are the kernel's reports, of a good boot too, in order; at most 256.
	Findings []Finding `json:"findings,omitempty"`
	// Initcalls are the kernel's initcalls that returned after a millisecond or later, in
	// order and at most 512, where initcall_debug made the console tell them.
	Initcalls []Initcall `json:"initcalls,omitempty"`
	// Unclean says that the boot came to its end, but with findings worse than a note
	// that are not known.
	Unclean bool `json:"unclean,omitempty"`
	// Probes are the experiments made on a hung guest. Everything else, the
	// diagnosis included, is from before them.
	Probes []Probe `json:"probes,omitempty"`
	// Second is the second boot that was made because the first left open what another
	// would tell; nil: there was none. Everything else, but for Diagnosis where Second.Told
	// says so, is of the first boot.
	Second *Second `json:"second,omitempty"`
	// Dir is the run's directory when the boot ended.
	Dir string `json:"dir"`
	// Files are the artifacts in the directory: file names by what they hold.
	Files map[string]string `json:"files"`
	// Kept says how to reach a guest that was left paused.
	Kept *Kept `json:"kept,omitempty"`
	// Watched says how a guest was found and left that somebody else had started; nil for
	// one that unwedge booted. Times since the start of QEMU are then since the watching
	// began.
	Watched *Watched `json:"watched,omitempty"`
	// Notes are what a reader should know before trusting the rest.
	Notes []string `json:"notes,omitempty"`
}

// Initcall is how long an initcall took.
type Initcall struct {
	// Name is the function, with the module in brackets where it is a module's.
	Name string `json:"name"`
	// Took is how long it took, by the guest's clock.
	Took time.Duration `json:"took_ns"`
}

// Kernel is the candidate, and which file of it was booted.
type Kernel struct {
	// Origin is the kernel argument that the user gave.
	Origin string `json:"origin"`
	// Path is the kernel's file.
	Path string `json:"path"`
	// Format is the format of the file, found from its bytes.
	Format string `json:"format"`
	// Release is what `uname -r` prints.
	Release string `json:"release"`
	// BuildID is the GNU build ID in lower-case hex.
	BuildID string `json:"build_id,omitempty"`
	// SHA256 is the checksum of the file in lower-case hex.
	SHA256 string `json:"sha256"`
	// Booted is the file that QEMU was given.
	Booted string `json:"booted"`
	// BootedAs is why it was that file.
	BootedAs string `json:"booted_as"`
	// Running is the kernel that ran in the guest, by the agent or by the guest's memory;
	// nil where neither told.
	Running *Running `json:"running,omitempty"`
	// Fault is what was changed in the kernel on purpose, as JSON in a string;
	// empty for an unchanged kernel.
	Fault string `json:"seeded_fault,omitempty"`
}

// Running is the kernel that ran in a guest.
type Running struct {
	// Release is what `uname -r` prints there.
	Release string `json:"release"`
	// BuildID is its GNU build ID in lower-case hex; empty where it has none.
	BuildID string `json:"build_id,omitempty"`
	// From is who told: agent or memory.
	From RunningFrom `json:"from"`
}

// RunningFrom is who told which kernel ran.
type RunningFrom string

// The sources.
const (
	FromAgent  RunningFrom = "agent"  // the agent's last report
	FromMemory RunningFrom = "memory" // what the kernel says of itself in the guest's memory
)

// Module is an external module that was tried.
type Module struct {
	// Label names the trial: as-built, or how the module was made not to fit.
	Label string `json:"label"`
	// Wanted is the verdict that the scenario asks for.
	Wanted extmod.Verdict `json:"wanted"`
	// Predicted is what the files said before the boot.
	Predicted extmod.Prediction `json:"predicted"`
	// Got is what the kernel did, nil if the guest did not get that far.
	Got *agentproto.ModuleTried `json:"got,omitempty"`
	// Difference is what was not as predicted or wanted, empty if all was.
	Difference string `json:"difference,omitempty"`
}

// Host is what the guest ran on.
type Host struct {
	// QEMU is the path of the QEMU program.
	QEMU string `json:"qemu"`
	// QEMUVersion is QEMU's version.
	QEMUVersion string `json:"qemu_version"`
	// Accel is the accelerator.
	Accel Accel `json:"accel"`
	// AccelWhy is why it was that accelerator.
	AccelWhy string `json:"accel_why"`
	// QueryKVM is QEMU's answer to query-kvm while the guest ran.
	QueryKVM *QueryKVM `json:"query_kvm,omitempty"`
	// Args are QEMU's arguments, without the name of the program.
	Args []string `json:"args"`
	// Cmdline is the kernel command line.
	Cmdline string `json:"cmdline"`
	// Limits are the times by which the boot was judged.
	Limits Limits `json:"limits"`
	// Reference is the calibration that the limits were made from.
	Reference Reference `json:"reference"`
	// Calibrated says that the reference was measured on this host.
	Calibrated bool `json:"calibrated"`
	// Class is the kind of machine that QEMU ran on: the processor's model and the number
	// of CPUs. Times of different classes are not compared.
	Class string `json:"class,omitempty"`
}

// QueryKVM is QEMU's answer to the QMP command query-kvm.
type QueryKVM struct {
	// Enabled says that KVM runs this guest.
	Enabled bool `json:"enabled"`
	// Present says that this QEMU supports KVM.
	Present bool `json:"present"`
}

// Times are how long things took. Unless stated otherwise they are wall times
// since the start of QEMU.
type Times struct {
	// Started is the host's time when the boot began.
	Started time.Time `json:"started"`
	// Wall is how long the run took in all.
	Wall time.Duration `json:"wall_ns"`
	// FirstReport is when the agent sent its first report; 0 if it sent none.
	FirstReport time.Duration `json:"first_report_ns,omitempty"`
	// Verdict is when the outcome was decided.
	Verdict time.Duration `json:"verdict_ns"`
	// Stalled is when a boot that hung made its last progress.
	Stalled time.Duration `json:"stalled_ns,omitempty"`
	// Diagnosed is when the diagnosis was finished.
	Diagnosed time.Duration `json:"diagnosed_ns,omitempty"`
	// Guest is the last time stamp on the console, in seconds of guest time.
	Guest float64 `json:"guest_s,omitempty"`
	// IdleGap is the longest time without progress, all vCPUs idle, that was
	// followed by progress.
	IdleGap time.Duration `json:"idle_gap_ns,omitempty"`
	// BusyGap is the longest time without progress, a vCPU busy, that was followed
	// by progress.
	BusyGap time.Duration `json:"busy_gap_ns,omitempty"`
}

// Stall is one time that the boot stopped making progress, and what was captured
// then.
type Stall struct {
	// At is when the boot made its last progress, since the start of QEMU.
	At time.Duration `json:"at_ns"`
	// Noticed is when the stall was noticed, since the start of QEMU.
	Noticed time.Duration `json:"noticed_ns"`
	// Why is why it counted as a stall.
	Why string `json:"why"`
	// Confidence is how sure the suspicion was.
	Confidence Confidence `json:"confidence,omitempty"`
	// Idle says that all vCPUs were idle.
	Idle bool `json:"idle"`
	// Registers are samples of the vCPUs' registers.
	Registers []CPUSample `json:"registers,omitempty"`
	// Attempts are the sysrq keys that were sent to the kernel.
	Attempts []Attempt `json:"sysrq,omitempty"`
	// Memory says how the guest's memory was read; nil if it was not.
	Memory *Memory `json:"memory,omitempty"`
	// Repeated is how many bytes the guest had printed since its last progress:
	// lines that differ from earlier ones in their numbers only.
	Repeated int64 `json:"repeated_bytes,omitempty" jsonschema:"minimum=0"`
	// Proof is why nothing could wake the guest any more, where its memory proves that;
	// otherwise it was judged by its silence.
	Proof []string `json:"proof,omitempty"`
	// Told is when the guest's memory had told for certain what it is, since the start;
	// 0 where it did not before the kernel was asked.
	Told time.Duration `json:"told_ns,omitempty"`
	// Unproven is what could still have woken it, or what is not known of it, where that
	// was looked for.
	Unproven string `json:"unproven,omitempty"`
	// Wake is how long a pending timer of the guest was waited for.
	Wake time.Duration `json:"wake_ns,omitempty"`
	// Works says that the guest was at work although it was silent: its vCPUs were
	// sampled in many places, or a disk completed reads.
	Works bool `json:"works,omitempty"`
	// WentOn says that the boot made progress afterwards, so that it did not hang.
	WentOn bool `json:"went_on"`
}

// Memory says how the guest's memory was read. What it showed is in memory.txt.
type Memory struct {
	// Tasks is how many tasks were found.
	Tasks int `json:"tasks"`
	// Types says where the layouts of the kernel's structures are from: btf (its own
	// image), dwarf (debug information of the same build), compiled (against its
	// headers), inferred (from the image and the memory alone), or none.
	Types string `json:"types,omitempty"`
	// Offset is how far KASLR moved the kernel from its link address, in bytes.
	Offset uint64 `json:"kaslr_offset,omitempty"`
	// PhysBase is the physical address of the kernel's first byte.
	PhysBase uint64 `json:"phys_base,omitempty"`
	// Ticks is how many jiffies passed between two reads; 0 if the guest's clock
	// stood still or was read only once.
	Ticks uint64 `json:"ticks,omitempty"`
	// Took is how long all reads took.
	Took time.Duration `json:"took_ns"`
	// Problems are what could not be read, and why.
	Problems []string `json:"problems,omitempty"`
}

// Probe is one experiment on a hung guest, and its outcome.
type Probe struct {
	// Name is the probe's.
	Name ProbeName `json:"name"`
	// Did is what was done, empty if nothing was.
	Did string `json:"did,omitempty"`
	// Outcome is what happened.
	Outcome ProbeOutcome `json:"outcome"`
	// Why is one sentence on the outcome.
	Why string `json:"why"`
	// At is when the probe began, since the start of QEMU.
	At time.Duration `json:"at_ns"`
	// Took is how long it took in all.
	Took time.Duration `json:"took_ns"`
	// After is how long after its beginning the boot went on; 0 if it did not.
	After time.Duration `json:"after_ns,omitempty"`
	// Boot is how the boot ended then; hung if it stalled again, there or
	// elsewhere.
	Boot scenarios.Outcome `json:"boot,omitempty"`
	// Stage is the last stage that the agent reported then.
	Stage stage.Stage `json:"stage,omitempty"`
	// Task says where the task that had blocked the boot was in the end.
	Task string `json:"task,omitempty"`
	// Said is the first error message of user space: that of the program whose
	// system call was made to fail.
	Said string `json:"said,omitempty"`
	// Console are the first lines that the guest printed; probe.log has all.
	Console []string `json:"console,omitempty"`
	// Shows is what the experiment proves, empty if nothing.
	Shows string `json:"shows,omitempty"`
}

// Event is one QMP event.
type Event struct {
	// At is when it arrived, since the start of QEMU.
	At time.Duration `json:"at_ns"`
	// Name is the event's, as in QEMU's QMP reference.
	Name string `json:"name"`
	// Data is the event's data, as QEMU sent it.
	Data json.RawMessage `json:"data,omitempty"`
}

// Console says how much the guest printed, and how much of it is in console.log.
type Console struct {
	// Bytes is how many bytes the guest printed.
	Bytes int64 `json:"bytes"`
	// Lines is how many lines the guest printed.
	Lines int64 `json:"lines"`
	// LeftOut is how many of the bytes are not in the file because of its size
	// limit.
	LeftOut int64 `json:"left_out"`
	// Error is why the log is not complete.
	Error string `json:"error,omitempty"`
}

// Kept says how to reach a guest that was left paused.
type Kept struct {
	// PID is QEMU's process ID.
	PID int `json:"pid"`
	// Console is the path of the console's pipes, without their endings .in and
	// .out.
	Console string `json:"console"`
	// QMP is the path of the monitor's Unix socket.
	QMP string `json:"qmp"`
	// GDB is the path of the gdb stub's Unix socket.
	GDB string `json:"gdb"`
}

// Watched is a guest that somebody else started.
type Watched struct {
	// PID is QEMU's process ID, 0 if it is not a process of this machine.
	PID int `json:"pid,omitempty"`
	// QMP is the path of the monitor's socket.
	QMP string `json:"qmp,omitempty"`
	// Domain is libvirt's domain, and URI its connection.
	Domain string `json:"domain,omitempty"`
	// URI is the connection to libvirt.
	URI string `json:"uri,omitempty"`
	// Console is where the guest's console was read; empty if it could not be: then
	// console.log is the kernel's log, as the guest's memory had it.
	Console string `json:"console,omitempty"`
	// NoConsole is why it could not be read.
	NoConsole string `json:"no_console,omitempty"`
	// Before is QEMU's status of the guest when the watching began, such as running or
	// paused.
	Before string `json:"before"`
	// After is the status when it ended, or gone.
	After string `json:"after"`
	// Stopped is how long the guest was stopped in all, to be read.
	Stopped time.Duration `json:"stopped_ns,omitempty"`
	// Unsure says that it would have stayed stopped, had unwedge been killed meanwhile.
	Unsure bool `json:"unsure,omitempty"`
}

// Fails says that the boot did not end as the scenario asks, and not for a known reason.
func (r *Result) Fails() bool { return !r.Expected && r.KnownFailure == nil }

// Write writes the Result to its file in Dir, whole or not at all.
func (r *Result) Write(name string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	tmp, err := os.CreateTemp(r.Dir, ".result-")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	if _, err := tmp.Write(append(b, '\n')); err != nil {
		tmp.Close()
		return fmt.Errorf("write result: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := os.Chmod(tmp.Name(), 0o644); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := os.Rename(tmp.Name(), filepath.Join(r.Dir, name)); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// Read reads a Result that Write wrote.
func Read(path string) (*Result, error) {
	b, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read result %s: %w", path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("read result %s: schema %q, this version knows %q", path, r.Schema, Schema)
	}
	return &r, nil
}

// maxResult bounds the file that Read reads, in bytes.
const maxResult = 64 << 20

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxResult+1))
	if err == nil && len(b) > maxResult {
		err = fmt.Errorf("%s has more than %d MiB", path, maxResult>>20)
	}
	return b, err
}
