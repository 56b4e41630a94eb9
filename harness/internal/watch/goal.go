package watch

import (
	"regexp"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Goal is what shows that a guest has booted. The zero Goal is one that only
// Tracker.Reach tells of.
type Goal struct {
	stage stage.Stage    // the agent's
	line  *regexp.Regexp // on the console, nil for none
	says  string         // what a line that matches shows
}

// Toward makes the Goal of a sign. Ports and tasks are looked for by others, who call
// Tracker.Reach.
func Toward(s scenarios.Sign) Goal {
	switch make := goals[s.Kind]; {
	case make != nil:
		return make(s.Value)
	default:
		return Goal{}
	}
}

var goals = map[scenarios.SignKind]func(value string) Goal{
	scenarios.ByStage: func(v string) Goal { return Goal{stage: stage.Stage(v)} },
	scenarios.ByInit: func(string) Goal {
		return Goal{line: runsInit, says: "the kernel runs init"}
	},
	scenarios.ByConsole: func(v string) Goal {
		re, err := regexp.Compile(v)
		if err != nil { // Validate refuses it
			re = never
		}
		return Goal{line: re, says: "the console says"}
	},
	scenarios.ByLogin:   func(string) Goal { return Goal{line: login, says: "the console shows a login prompt"} },
	scenarios.BySystemd: func(v string) Goal { return Goal{line: reachedUnit(v), says: "systemd says"} },
}

var (
	never = regexp.MustCompile(`$x`)
	// runsInit is the kernel's before it starts init (init/main.c, run_init_process,
	// since 5.4).
	runsInit = regexp.MustCompile(`(?:^|\] ?)Run /\S* as init process`)
	// login is agetty's and busybox getty's prompt: the host's name before it.
	login = regexp.MustCompile(`(?:^|[\s\w.-])login: ?$`)
)

// described are the targets' descriptions, which systemd printed in place of their
// names before v249 (units/*.target).
var described = map[string]string{
	"basic.target": "Basic System", "multi-user.target": "Multi-User System", "graphical.target": "Graphical Interface",
	"sysinit.target": "System Initialization", "network-online.target": "Network is Online",
}

// reachedUnit matches systemd's status line of a unit, and what it logs
// (src/core/job.c, job_done_messages).
func reachedUnit(unit string) *regexp.Regexp {
	names := regexp.QuoteMeta(unit)
	if d := described[unit]; d != "" {
		names += "|" + regexp.QuoteMeta(d)
	}
	verb := "(?:Started|Finished|Listening on|Mounted)"
	if strings.HasSuffix(unit, ".target") {
		verb = "Reached target"
	}
	return regexp.MustCompile(`(?:^|[\]:] +)` + verb + ` (?:` + names + `)(?:[ .]|$)`)
}

// arrival is when the goal was reached, and by what that is known.
type arrival struct {
	at  time.Time
	why string
}

func (a arrival) there() bool { return a.why != "" }

// Reach says that the goal is reached.
func (t *Tracker) Reach(at time.Time, why string) {
	if !t.reached.there() {
		t.reached = arrival{at, why}
	}
}

// maxGoalLine is how much of a line is searched, in bytes.
const maxGoalLine = 4096

// look searches a line, or a beginning of one, for what shows that the guest has booted.
func (t *Tracker) look(at time.Time, text []byte) {
	g := t.goal
	if g.line == nil || t.reached.there() {
		return
	}
	if m := g.line.Find(text[:min(len(text), maxGoalLine)]); m != nil {
		why := g.says
		if words := strings.TrimLeft(strings.TrimSpace(clip(m)), "]: "); words != "" {
			why += ": " + words
		}
		t.Reach(at, why)
	}
}

// Partial takes what stands on a console line that has not ended: a prompt ends none.
func (t *Tracker) Partial(at time.Time, text []byte) {
	if t.goal.line != nil {
		t.look(at, console.Strip(text))
	}
}
