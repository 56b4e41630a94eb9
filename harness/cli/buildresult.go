package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/kbuild"
)

// buildResult is what --json prints.
type buildResult struct {
	Schema  string  `json:"schema"`
	Arch    string  `json:"arch"`
	Source  string  `json:"source"`
	Output  string  `json:"output"`
	Image   string  `json:"image"`
	Vmlinux string  `json:"vmlinux"`
	Modules string  `json:"modules,omitempty"`
	Release string  `json:"release"`
	BuildID string  `json:"build_id"`
	Seconds float64 `json:"seconds"`
	// Twice is there with --twice only.
	Twice *twiceResult `json:"twice,omitempty"`
}

type twiceResult struct {
	Same        bool                `json:"same"`
	BuildID     string              `json:"build_id"` // of the second build
	Differences []kbuild.Difference `json:"differences"`
}

const buildSchema = "unwedge/build/1"

func newBuildResult(s kbuild.Spec, b *kbuild.Built) buildResult {
	return buildResult{
		Schema: buildSchema, Arch: string(s.Arch), Source: s.Source, Output: s.Output, Image: b.Image, Vmlinux: b.Vmlinux,
		Modules: b.Modules, Release: b.Release, BuildID: b.BuildID, Seconds: b.Elapsed.Seconds(),
	}
}

func (a *app) showBuild(s kbuild.Spec, b *kbuild.Built, asJSON bool) error {
	if asJSON {
		return report.JSON(a.stdout, newBuildResult(s, b))
	}
	printBuild(a.stdout, s, b)
	return nil
}

// showTwice says whether two builds are the same; if not, that is the tree's
// failure.
func (a *app) showTwice(s kbuild.Spec, t *kbuild.Twice, asJSON bool) error {
	if asJSON {
		r := newBuildResult(s, t.First)
		r.Twice = &twiceResult{Same: len(t.Differences) == 0, BuildID: t.Second.BuildID, Differences: t.Differences}
		if r.Twice.Differences == nil {
			r.Twice.Differences = []kbuild.Difference{}
		}
		if err := report.JSON(a.stdout, r); err != nil {
			return err
		}
	} else {
		printBuild(a.stdout, s, t.First)
		printTwice(a.stdout, t)
	}
	if len(t.Differences) > 0 {
		return errKernel
	}
	return nil
}

func printTwice(w io.Writer, t *kbuild.Twice) {
	if len(t.Differences) == 0 {
		fmt.Fprintf(w, "  twice:    identical: every section of vmlinux, the boot image and the modules\n")
		return
	}
	fmt.Fprintf(w, "  twice:    they differ: the second has build ID %s\n", t.Second.BuildID)
	for _, d := range t.Differences {
		fmt.Fprintf(w, "    %s\n", strings.TrimSpace(d.File+" "+d.Section)+": "+console.Sanitize(d.What))
	}
}

func printBuild(w io.Writer, s kbuild.Spec, b *kbuild.Built) {
	fmt.Fprintf(w, "BUILT  %s  %s  in %s\n", b.Release, s.Arch, b.Elapsed.Round(100*time.Millisecond))
	for _, row := range [][2]string{{"image", b.Image}, {"build ID", b.BuildID}, {"modules", b.Modules}, {"log", filepath.Join(s.Output, kbuild.LogName)}, {"boot it", "unwedge boot " + s.Output}} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %-9s %s\n", row[0]+":", row[1])
		}
	}
}
