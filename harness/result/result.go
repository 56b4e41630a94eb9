// Package result is the one document that a boot leaves behind. Every report
// is drawn from it and nothing else.
package result

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
// can read every later minor addition: fields are added, never changed.
const Schema = "unwedge/result/1"

//go:embed schema.json
var schemaJSON string

// JSONSchema describes the document, every field of it, as a JSON Schema of
// draft 2020-12.
func JSONSchema() string { return schemaJSON }

// Result is what one boot showed. Times ending in _ns are nanoseconds of wall
// time, those ending in _s seconds of guest time.
type Result struct {
	Schema   string             `json:"schema"`
	Version  string             `json:"unwedge_version"`
	Scenario scenarios.Scenario `json:"scenario"`
	Kernel   Kernel             `json:"kernel"`
	// Outcome is how the boot ended, Expected whether that is what the
	// scenario asked for, and Why one sentence on it.
	Outcome  scenarios.Outcome `json:"outcome"`
	Expected bool              `json:"expected"`
	Why      string            `json:"why"`
	// Confidence is how sure the outcome is. It says nothing on the diagnosis,
	// which has a confidence of its own.
	Confidence Confidence `json:"confidence,omitempty"`
	// Modules are the external modules that were tried, in order.
	Modules []Module `json:"modules,omitempty"`
	// Stage is the last stage the agent reported.
	Stage   stage.Stage         `json:"stage,omitempty"`
	Reports []agentproto.Report `json:"reports,omitempty"`
	Host    Host                `json:"host"`
	Times   Times               `json:"times"`
	Resets  int                 `json:"resets"`
	// Stalls are all suspicions, also those that were wrong.
	Stalls    []Stall    `json:"stalls,omitempty"`
	Events    []Event    `json:"events,omitempty"`
	Console   Console    `json:"console"`
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`
	// Probes are the experiments that a hung guest was put to. All else, the
	// diagnosis too, is from before them.
	Probes []Probe `json:"probes,omitempty"`
	// Dir is the run's directory, Files the artifacts in it by what they hold.
	Dir   string            `json:"dir"`
	Files map[string]string `json:"files"`
	Kept  *Kept             `json:"kept,omitempty"`
	// Notes are what a reader should know before trusting the rest.
	Notes []string `json:"notes,omitempty"`
}

// Kernel is the candidate and what of it was booted.
type Kernel struct {
	Origin   string `json:"origin"` // what the user named
	Path     string `json:"path"`
	Format   string `json:"format"`
	Release  string `json:"release"`
	BuildID  string `json:"build_id,omitempty"`
	SHA256   string `json:"sha256"`
	Booted   string `json:"booted"`    // the file QEMU was given
	BootedAs string `json:"booted_as"` // why that file
	Fault    string `json:"seeded_fault,omitempty"`
}

// Module is an external module that was tried.
type Module struct {
	// Label names the trial: as-built, or how it was made not to fit.
	Label string `json:"label"`
	// Wanted is what the scenario asks for, Predicted what the files said before
	// the boot, Got what the kernel did; nil where the guest did not come so far.
	Wanted    extmod.Verdict          `json:"wanted"`
	Predicted extmod.Prediction       `json:"predicted"`
	Got       *agentproto.ModuleTried `json:"got,omitempty"`
	// Difference is what is not as predicted or wanted, "" if all is.
	Difference string `json:"difference,omitempty"`
}

// Host is what the guest ran on.
type Host struct {
	QEMU        string `json:"qemu"`
	QEMUVersion string `json:"qemu_version"`
	Accel       Accel  `json:"accel"`
	AccelWhy    string `json:"accel_why"`
	// QueryKVM is QEMU's own answer, asked of the running guest.
	QueryKVM *QueryKVM `json:"query_kvm,omitempty"`
	Args     []string  `json:"args"`
	Cmdline  string    `json:"cmdline"`
	Limits   Limits    `json:"limits"`
	// Reference is the calibration that the limits were made from.
	Reference  Reference `json:"reference"`
	Calibrated bool      `json:"calibrated"`
}

// QueryKVM is QMP's query-kvm.
type QueryKVM struct {
	Enabled bool `json:"enabled"`
	Present bool `json:"present"`
}

// Times tell how long things took.
type Times struct {
	Started time.Time     `json:"started"`
	Wall    time.Duration `json:"wall_ns"`
	// FirstReport is from the start of QEMU to the agent's first report.
	FirstReport time.Duration `json:"first_report_ns,omitempty"`
	// Verdict is from the start of QEMU to the decision, Diagnosed to the
	// finished diagnosis, Stalled to the last progress before a hang.
	Verdict   time.Duration `json:"verdict_ns"`
	Stalled   time.Duration `json:"stalled_ns,omitempty"`
	Diagnosed time.Duration `json:"diagnosed_ns,omitempty"`
	// Guest is the last time stamp on the console.
	Guest float64 `json:"guest_s,omitempty"`
	// IdleGap and BusyGap are the longest quiet times before more progress.
	IdleGap time.Duration `json:"idle_gap_ns,omitempty"`
	BusyGap time.Duration `json:"busy_gap_ns,omitempty"`
}

// Stall is one time the boot stopped making progress, and what was captured.
type Stall struct {
	At      time.Duration `json:"at_ns"`      // since the start of QEMU
	Noticed time.Duration `json:"noticed_ns"` // since the start of QEMU
	Why     string        `json:"why"`
	// Confidence is how sure the suspicion was.
	Confidence Confidence  `json:"confidence,omitempty"`
	Idle       bool        `json:"idle"`
	Registers  []CPUSample `json:"registers,omitempty"`
	Attempts   []Attempt   `json:"sysrq,omitempty"`
	// Memory is what was seen of the guest's memory; nil where nobody looked.
	Memory *Memory `json:"memory,omitempty"`
	// Repeated is how many bytes the guest had printed since its last progress.
	Repeated int64 `json:"repeated_bytes,omitempty"`
	// Wake is the time that the harness waited for a timer that was due.
	Wake time.Duration `json:"wake_ns,omitempty"`
	// Works says that the vCPUs were seen in many places, or that a disk
	// answered reads: silent, but at work.
	Works bool `json:"works,omitempty"`
	// WentOn says that the boot made progress afterwards.
	WentOn bool `json:"went_on"`
}

// Memory says how the guest's memory was read. What it showed is in memory.txt.
type Memory struct {
	// Tasks is how many were found.
	Tasks int `json:"tasks"`
	// Offset is how far the kernel was moved from where it was linked (KASLR),
	// PhysBase the physical address of its first byte.
	Offset   uint64 `json:"kaslr_offset,omitempty"`
	PhysBase uint64 `json:"phys_base,omitempty"`
	// Ticks is how many jiffies passed between two looks; 0 where the guest's
	// clock stood still, or was not seen twice.
	Ticks uint64 `json:"ticks,omitempty"`
	// Took is the time of all looks, Problems what could not be read.
	Took     time.Duration `json:"took_ns"`
	Problems []string      `json:"problems,omitempty"`
}

// Probe is one experiment on the hung guest, and what came of it.
type Probe struct {
	Name ProbeName `json:"name"`
	// Did is what was done, "" where nothing was.
	Did     string       `json:"did,omitempty"`
	Outcome ProbeOutcome `json:"outcome"`
	Why     string       `json:"why"`
	// At is when it began, since the start of QEMU, Took how long it took in
	// all, After how long after its beginning the boot went on.
	At    time.Duration `json:"at_ns"`
	Took  time.Duration `json:"took_ns"`
	After time.Duration `json:"after_ns,omitempty"`
	// Boot is how the boot ended then; hung is one that stalled, as before or
	// elsewhere. Stage is the last stage that the agent reported then.
	Boot  scenarios.Outcome `json:"boot,omitempty"`
	Stage stage.Stage       `json:"stage,omitempty"`
	// Task says where the task was in the end that the boot had waited for.
	Task string `json:"task,omitempty"`
	// Said is the first complaint of user space: that of whoever made the
	// system call which failed.
	Said string `json:"said,omitempty"`
	// Console are the first lines that the guest printed; probe.log has all.
	Console []string `json:"console,omitempty"`
	// Shows is what the experiment proves, "" for nothing.
	Shows string `json:"shows,omitempty"`
}

// Event is one QMP event.
type Event struct {
	At   time.Duration   `json:"at_ns"`
	Name string          `json:"name"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Console says what is known of console.log.
type Console struct {
	Bytes   int64  `json:"bytes"`
	Lines   int64  `json:"lines"`
	LeftOut int64  `json:"left_out"` // bytes not in the file because of its cap
	Error   string `json:"error,omitempty"`
}

// Kept says how to get at a guest that was left paused.
type Kept struct {
	PID int `json:"pid"`
	// Console is the path of the pipes .in and .out (harness/internal/qemu.OpenPipe).
	Console string `json:"console"`
	QMP     string `json:"qmp"`
	GDB     string `json:"gdb"`
}

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
