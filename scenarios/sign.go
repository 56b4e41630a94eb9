package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/scenarios/stage"
)

// Sign is what shows that a guest has booted.
type Sign struct {
	Kind SignKind
	// Value is the stage, pattern, unit, port or name; "" where the kind needs none.
	Value string
}

// SignKind is a kind of Sign; "" is none.
type SignKind string

// The kinds of signs. Only the first needs the agent in the guest.
const (
	ByStage   SignKind = "stage"   // the agent reports the stage
	ByInit    SignKind = "init"    // the kernel says that it runs init
	ByConsole SignKind = "console" // a line of the console matches the pattern
	ByLogin   SignKind = "login"   // the console shows a login prompt
	BySystemd SignKind = "systemd" // systemd says that it has reached the unit
	ByTCP     SignKind = "tcp"     // the guest takes connections on the port
	ByTask    SignKind = "task"    // memory shows a task of the name
)

// String is what ParseSign reads.
func (s Sign) String() string {
	if s.Value == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + "=" + s.Value
}

// sign is how one kind stands in an Expect.
type sign struct {
	kind SignKind
	// value is what stands where none is given, "" where one must be.
	get func(Expect) string
	set func(*Expect, string) error
	// alone says that the kind takes no value, def is what it means without one.
	alone bool
	def   string
	// example is what the help shows.
	example string
	check   func(string) error
}

var signs = []sign{
	{kind: ByStage, example: "stage=NAME", get: func(e Expect) string { return string(e.Stage) },
		set: func(e *Expect, v string) error { e.Stage = stage.Stage(v); return nil }, check: checkStage},
	{kind: ByInit, example: "init", alone: true, get: func(e Expect) string { return set(e.Init) },
		set: func(e *Expect, _ string) error { e.Init = true; return nil }},
	{kind: ByConsole, example: "console=PATTERN", get: func(e Expect) string { return e.Console },
		set: func(e *Expect, v string) error { e.Console = v; return nil }, check: checkPattern},
	{kind: ByLogin, example: "login", alone: true, get: func(e Expect) string { return set(e.Login) },
		set: func(e *Expect, _ string) error { e.Login = true; return nil }},
	{kind: BySystemd, example: "systemd[=UNIT]", def: "multi-user.target", get: func(e Expect) string { return e.Systemd },
		set: func(e *Expect, v string) error { e.Systemd = v; return nil }, check: checkUnit},
	{kind: ByTCP, example: "tcp=PORT", get: func(e Expect) string { return number(e.TCP) },
		set: func(e *Expect, v string) (err error) { e.TCP, err = strconv.Atoi(v); return err }, check: checkPort},
	{kind: ByTask, example: "task=NAME", get: func(e Expect) string { return e.Task },
		set: func(e *Expect, v string) error { e.Task = v; return nil }, check: checkTask},
}

func set(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// SignNames are examples of what ParseSign reads.
func SignNames() []string {
	var out []string
	for _, s := range signs {
		out = append(out, s.example)
	}
	return out
}

// Signs are those that an Expect names.
func (e Expect) Signs() []Sign {
	var out []Sign
	for _, s := range signs {
		v := s.get(e)
		if v == "" {
			continue
		}
		if s.alone {
			v = ""
		}
		out = append(out, Sign{s.kind, v})
	}
	return out
}

// Sign is the one that an Expect names; the zero Sign for none.
func (e Expect) Sign() Sign {
	if all := e.Signs(); len(all) > 0 {
		return all[0]
	}
	return Sign{}
}

// With returns the Expect with another sign.
func (e Expect) With(s Sign) Expect {
	e = Expect{Outcome: e.Outcome, Cause: e.Cause}
	for _, row := range signs {
		if row.kind == s.Kind {
			_ = row.set(&e, s.Value) // ParseSign and Validate check it
		}
	}
	return e
}

// ParseSign reads login, tcp=22 and the like.
func ParseSign(text string) (Sign, error) {
	name, value, has := strings.Cut(text, "=")
	i := slices.IndexFunc(signs, func(s sign) bool { return string(s.kind) == name })
	if i < 0 {
		return Sign{}, fmt.Errorf("%q: use %s", text, strings.Join(SignNames(), ", "))
	}
	s := signs[i]
	if !has {
		value = s.def
	}
	if (value == "") != s.alone {
		return Sign{}, fmt.Errorf("%q: use %s", text, s.example)
	}
	if s.check != nil {
		if err := s.check(value); err != nil {
			return Sign{}, err
		}
	}
	return Sign{s.kind, value}, nil
}

// Booted is the sign by which the cell counts as booted: what Expect names, else as
// far as the images allow.
func (s Scenario) Booted() Sign {
	switch sign := s.Expect.Sign(); {
	case sign.Kind != "":
		return sign
	case !s.HasAgent():
		return Sign{Kind: ByInit}
	case s.Root.Wanted():
		return Sign{ByStage, string(stage.MultiUser)}
	case s.WithAgent:
		return Sign{ByStage, string(stage.Init)}
	default:
		return Sign{ByStage, string(stage.Userspace)}
	}
}

// BootedStage is the agent's stage at which the cell counts as booted, "" where
// something else counts.
func (s Scenario) BootedStage() stage.Stage {
	if b := s.Booted(); b.Kind == ByStage {
		return stage.Stage(b.Value)
	}
	return ""
}

// validateExpect checks what counts as booted.
func (s Scenario) validateExpect(bad func(format string, args ...any)) {
	all := s.Expect.Signs()
	if len(all) > 1 {
		bad("expect %s and %s: one thing counts as booted", all[0].Kind, all[1].Kind)
	}
	for _, sign := range all {
		if _, err := ParseSign(sign.String()); err != nil {
			bad("expect %w", err)
		}
	}
	switch sign := s.Booted(); {
	case sign.Kind == ByStage && !s.HasAgent():
		bad("expect stage %s: no agent that reports it runs in the guest", sign.Value)
	case s.BootDisk && sign.Kind == ByInit && !s.Expect.Init && s.ExpectedOutcome() == Booted:
		bad("the disk brings its own system: say what counts as booted: expect %s", strings.Join(SignNames()[1:], ", "))
	}
}

// stages are those that the agent can report.
var stages = []stage.Stage{
	stage.Init, stage.Module, stage.Userspace, stage.Initramfs, stage.SwitchRoot, stage.System, stage.MultiUser,
}

func checkStage(v string) error {
	var errs []error
	oneOf(&errs, "stage", stage.Stage(v), stages)
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 1024

func checkPattern(v string) error {
	if len(v) > maxPattern {
		return fmt.Errorf("console pattern of %d bytes: use at most %d", len(v), maxPattern)
	}
	if _, err := regexp.Compile(v); err != nil {
		return fmt.Errorf("console pattern %q: %w", v, err)
	}
	return nil
}

var unit = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,200}$`)

func checkUnit(v string) error {
	if !unit.MatchString(v) {
		return fmt.Errorf("systemd unit %q: use a unit's name, such as multi-user.target", v)
	}
	return nil
}

func checkPort(v string) error {
	if n, err := strconv.Atoi(v); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("tcp port %q: use 1 to 65535", v)
	}
	return nil
}

// maxTask is how much of a task's name the kernel keeps (include/linux/sched.h,
// TASK_COMM_LEN, less the NUL).
const maxTask = 15

func checkTask(v string) error {
	if len(v) > maxTask {
		return fmt.Errorf("task %q: the kernel keeps %d bytes of a name: use %q", v, maxTask, v[:maxTask])
	}
	return nil
}
