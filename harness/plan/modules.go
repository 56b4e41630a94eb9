package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
)

// externalModule builds the probe for a kernel and makes copies of it that do not
// fit, predicts what the kernel does with each, and returns what the initramfs
// needs to try them.
func (p *Planner) externalModule(ctx context.Context, req *harness.Request, c *candidate.Candidate) (map[string][]byte, error) {
	headers, err := c.FindHeaders(ctx, candidate.Options{Arch: c.Kernel.Arch, Mirror: p.Mirror, Cache: p.Store})
	if err != nil {
		return nil, err
	}
	good, _, err := extmod.Probe(ctx, extmod.ProbeOptions{Arch: c.Kernel.Arch, Headers: headers.Dir, HeadersID: headers.ID, Store: p.Store})
	if err != nil {
		return nil, p.keepLog(err)
	}
	facts, err := extmod.Gather(ctx, extmod.Source{
		Kernel: c.Kernel, Headers: headers.Dir, ModulesDir: c.ModulesDir, Cmdline: strings.Fields(req.Machine.Cmdline()),
	})
	if err != nil {
		return nil, err
	}
	t := trials{facts: facts, files: map[string][]byte{}, word: digest(good)[:12]}
	// Those that do not fit come first: of a name that is loaded already the
	// kernel says nothing else.
	for _, how := range extmod.Mismatches() {
		if how == extmod.WrongCRC && !facts.Modversions() {
			req.Notes = append(req.Notes, "the kernel was built without CONFIG_MODVERSIONS: it compares no CRCs, so a wrong one was not tried")
			continue
		}
		bad, _, err := extmod.Spoil(good, how)
		if errors.Is(err, extmod.ErrNotApplicable) { // built with headers of another kind
			req.Notes = append(req.Notes, fmt.Sprintf("a module with a wrong %s was not tried: %v", how, err))
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := t.add(string(how), bad, spoilt[how]); err != nil {
			return nil, err
		}
	}
	if err := t.add("as-built", good, extmod.Loads); err != nil {
		return nil, err
	}
	t.files[agentproto.ModuleTrials] = []byte(t.list.String())
	req.Modules = t.out
	return t.files, nil
}

// buildLog is the file in the state directory that has what make said when it last
// failed to build a module.
const buildLog = "module-build.log"

// keepLog writes down what make said, where a build failed.
func (p *Planner) keepLog(err error) error {
	var failed *extmod.BuildError
	if !errors.As(err, &failed) {
		return err
	}
	path := filepath.Join(p.State, buildLog)
	if err := errors.Join(os.MkdirAll(p.State, 0o755), os.WriteFile(path, failed.Log, 0o644)); err != nil {
		return fmt.Errorf("%w (and its log could not be kept: %w)", failed, err)
	}
	return fmt.Errorf("%w: all that make said is in %s", failed, path)
}

// spoilt is what each mismatch is refused as.
var spoilt = map[extmod.Mismatch]extmod.Verdict{
	extmod.WrongVermagic: extmod.RefusedVermagic,
	extmod.WrongCRC:      extmod.RefusedCRC,
	extmod.UnknownSymbol: extmod.RefusedSymbol,
}

// trials collects the modules that one boot tries.
type trials struct {
	facts *extmod.Facts
	word  string // the parameter's value
	files map[string][]byte
	list  strings.Builder
	out   []harness.ModuleTrial
}

func (t *trials) add(label string, module []byte, want extmod.Verdict) error {
	m, err := extmod.Parse(module)
	if err != nil {
		return err
	}
	path := "/lib/unwedge/" + extmod.ProbeName + "-" + label + ".ko"
	t.files[path] = module
	line, err := json.Marshal(agentproto.ModuleTrial{Label: label, Path: path, Name: extmod.ProbeName, Param: extmod.ProbeParam, Value: t.word})
	if err != nil {
		return fmt.Errorf("list modules to try: %w", err)
	}
	t.list.Write(append(line, '\n'))
	trial := harness.ModuleTrial{Label: label, Want: want, Predicted: extmod.Check(m, t.facts)}
	if want == extmod.Loads {
		trial.Param, trial.Says = t.word, extmod.ProbeName+": "+t.word
	}
	t.out = append(t.out, trial)
	return nil
}
