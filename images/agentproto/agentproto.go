// Package agentproto is what the guest agent reports to the harness: one JSON
// object per line, over virtio-serial where the guest has it and over the
// kernel log (and so the console) otherwise. It is shared by the agent, which
// runs in the guest, and the harness, so it imports nothing but the standard
// library.
package agentproto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/scenarios/stage"
)

// Port is the virtio-serial port name the agent writes to.
const Port = "org.unwedge.agent.0"

// RootTag is the 9p tag of the directory that is the guest's root file system, and
// RootArg on the kernel command line asks for it.
const (
	RootTag = "unwedge-root"
	RootArg = "unwedge.root=9p"
)

// FirstInit is the agent in an initramfs of somebody else's. As PID 1 it reports that init
// runs, and then runs /init.
const FirstInit = "/usr/lib/unwedge/run/unwedge/agent"

// Prefix starts a report on the console; the JSON object follows it on the
// same line.
const Prefix = "unwedge-agent: "

// MaxLine is the longest report the agent may send, in bytes, newline not
// counted. The kernel cuts a /dev/kmsg record near 1,000 bytes
// (kernel/printk/printk.c, PRINTK_MESSAGE_MAX / LOG_LINE_MAX).
const MaxLine = 900

// Report is one line from the agent.
type Report struct {
	// V is the version of this message, 1.
	V int `json:"v"`
	// Stage is the stage just reached.
	Stage stage.Stage `json:"stage"`
	// Release is `uname -r`.
	Release string `json:"release,omitempty"`
	// BuildID is the running kernel's GNU build ID, lower-case hex, from
	// /sys/kernel/notes.
	BuildID string `json:"build_id,omitempty"`
	// FIPS is /proc/sys/crypto/fips_enabled; nil where there is no such file.
	FIPS *int `json:"fips,omitempty"`
	// HWRNG is /sys/class/misc/hw_random/rng_current, "none" if there is none.
	HWRNG string `json:"hwrng,omitempty"`
	// CRNG says whether getrandom(GRND_NONBLOCK) succeeds.
	CRNG bool `json:"crng"`
	// CRNGReadyAt is the guest time in seconds of "crng init done", 0 if not
	// known.
	CRNGReadyAt float64 `json:"crng_ready_at,omitempty"`
	// Uptime is the guest's /proc/uptime in seconds.
	Uptime float64 `json:"uptime"`
	// Via is the channel it was sent over: "virtio-serial" or "console".
	Via string `json:"via,omitempty"`
	// Error is the agent's own trouble in one line.
	Error string `json:"error,omitempty"`
	// Module is what the kernel did with an external module, at the stage module.
	Module *ModuleTried `json:"module,omitempty"`
}

// ModuleTrials is the file of the tiny initramfs that lists the external modules
// to try, a ModuleTrial a line, as JSON.
const ModuleTrials = "/etc/unwedge/module-trials"

// ModuleTrial is a module that the agent loads, and reports on.
type ModuleTrial struct {
	// Label names the trial, Path is the module's file.
	Label string `json:"label"`
	Path  string `json:"path"`
	// Name is the module's own.
	Name string `json:"name"`
	// Param is the name of a string parameter that is set to Value.
	Param string `json:"param,omitempty"`
	Value string `json:"value,omitempty"`
}

// ModuleTried is what the kernel did with a module.
type ModuleTried struct {
	// Label is the trial's name.
	Label string `json:"label"`
	// Errno is the name of finit_module's error, "" where it was loaded.
	Errno string `json:"errno,omitempty"`
	// Param is what sysfs has of the parameter afterwards.
	Param string `json:"param,omitempty"`
	// Log are the kernel's messages of modules meanwhile, the last where they are
	// many.
	Log []string `json:"log,omitempty"`
}

// ErrNotReport says that a line holds no report.
var ErrNotReport = errors.New("no agent report in this line")

// Parse reads a report from a virtio-serial line or from a console line that
// holds Prefix anywhere. It returns ErrNotReport when the line holds none, and
// another error when it holds a damaged one. Text after the object is ignored,
// because another writer may follow on the same console line; behind a report
// that was torn in that way a whole one on the same line is found.
func Parse(line []byte) (Report, error) {
	i := bytes.Index(line, []byte(Prefix))
	if i < 0 {
		if len(line) == 0 || line[0] != '{' {
			return Report{}, ErrNotReport
		}
		return parse(line)
	}
	var first error
	for range maxTorn {
		line = line[i+len(Prefix):]
		r, err := parse(line)
		if err == nil {
			return r, nil
		}
		if first == nil {
			first = err
		}
		if i = bytes.Index(line, []byte(Prefix)); i < 0 {
			break
		}
	}
	return Report{}, first
}

const (
	// maxTorn is how many reports on one line are tried.
	maxTorn = 4
	// maxTime is the latest guest time, in seconds, that is believed: a year.
	maxTime = 366 * 24 * 3600
)

func parse(line []byte) (Report, error) {
	var r Report
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("read agent report: %w", err)
	}
	if r.V != 1 || r.Stage == "" {
		return Report{}, fmt.Errorf("read agent report: version %d, stage %q", r.V, r.Stage)
	}
	for _, s := range []float64{r.Uptime, r.CRNGReadyAt} {
		if s < 0 || s > maxTime {
			return Report{}, fmt.Errorf("read agent report: a guest time of %g s", s)
		}
	}
	return r, nil
}

// Line returns the report as one line of JSON without the newline.
func (r Report) Line() ([]byte, error) {
	r.V = 1
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write agent report: %w", err)
	}
	if len(b) > MaxLine {
		return nil, fmt.Errorf("write agent report: %d bytes, the limit is %d", len(b), MaxLine)
	}
	return b, nil
}
