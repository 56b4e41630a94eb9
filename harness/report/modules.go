package report

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/extmod"
)

// modules says what was predicted for each external module, and what happened.
func modules(b *strings.Builder, r *result.Result) {
	noted := map[string]bool{}
	for _, m := range r.Modules {
		text := safe(m.Label) + ": predicted " + Verdict(m.Predicted) + "; " + fared(m.Got)
		if m.Got != nil {
			for _, l := range m.Got.Log {
				text += "\n  | " + safe(l)
			}
		}
		if m.Difference != "" {
			text += "\n  not as expected: " + safe(m.Difference)
		}
		for _, n := range m.Predicted.Notes {
			if !noted[n] { // once: they are of the kernel, most of them
				text += "\n  note: " + safe(n)
			}
			noted[n] = true
		}
		field(b, "module", text)
	}
}

// Verdict is a prediction in a few words.
func Verdict(p extmod.Prediction) string {
	s := safe(string(p.Verdict))
	if p.Symbol != "" {
		s += "(" + safe(p.Symbol) + ")"
	}
	if p.Errno != "" {
		s += ", " + safe(p.Errno)
	}
	return s
}

func fared(got *agentproto.ModuleTried) string {
	switch {
	case got == nil:
		return "not tried"
	case got.Errno != "":
		return "the kernel refused it: " + safe(got.Errno)
	default:
		return "the kernel loaded it"
	}
}
