// Command seeded is the score: it makes boots fail on purpose, in ways that are
// drawn at random, and counts how often unwedge notices, gets the kind of failure
// right, and names the place. It also boots unmodified kernels and counts the false
// alarms.
//
//	make score
//	go run ./suites/seeded [--arch A] [--n N] [--healthy N] [--seed S] [--only REGEXP] [-j N] [--load N] [--out DIR] [--json]
//	go run ./suites/seeded --short
//
// QEMU first traces which functions a healthy boot enters, in which order. The
// mutants are drawn from those, the same number from each phase of the boot, so that
// the boot is known to reach the fault; one that boots all the same is drawn again.
// A third of the kernels have no BTF: their types are compiled against their headers, or
// inferred from the guest's memory.
// The table and the list of every seed go to OUT/RESULTS.md, all measurements to
// OUT/score.json, the artifacts of what was not all right to OUT/runs. A second run
// with the same --out continues where the first one stopped; with another --only it
// does another part.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

type options struct {
	arches  []arch.Arch
	n       int
	healthy int
	user    bool
	jobs    int
	seed    uint64
	kernel  string
	out     string
	results string
	json    bool
	short   bool
	list    bool
	burn    bool
	load    int            // programs that compute beside some healthy boots
	only    *regexp.Regexp // which seeds and healthy boots; nil means all
	kernels []string       // of the healthy boots; nil means the default ones
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "seeded:", err)
		os.Exit(2)
	}
	if o.burn {
		burn()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "seeded:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("seeded", flag.ContinueOnError)
	arches := fs.String("arch", "", "one architecture; default: both")
	fs.IntVar(&o.n, "n", 36, "mutants for each architecture")
	fs.IntVar(&o.healthy, "healthy", 150, "healthy boots for each architecture")
	fs.BoolVar(&o.user, "user", true, "also seed the faults of user space, which are not drawn")
	fs.IntVar(&o.load, "load", 2, "busy loops beside every third healthy boot")
	only := fs.String("only", "", "boot only what matches this regular expression: a seed's \"ARCH/FAULT/FUNCTION PHASE\", or a healthy boot's \"healthy/ARCH/CELL RELEASE, PAUSE, loaded host\"")
	fs.BoolVar(&o.short, "short", false, "boot a few chosen seeds and healthy boots; exit code 1 unless all are right")
	fs.BoolVar(&o.list, "list", false, "list the seeds and the healthy boots; boot nothing")
	fs.BoolVar(&o.burn, "burn", false, "run a busy loop; for --load")
	fs.IntVar(&o.jobs, "j", 1, "boots at a time")
	fs.Uint64Var(&o.seed, "seed", 0, "seed of the random draw; 0 picks one and prints it")
	fs.StringVar(&o.kernel, "kernel", "", "kernel to mutate, needs --arch; default: Debian's 6.1")
	more := fs.String("healthy-kernels", "", "comma-separated kernels for the healthy boots; default: Debian's 6.1 and its newest backport")
	fs.StringVar(&o.out, "out", "", "directory for runs and results; a second run with the same one continues; default: a new temporary directory")
	fs.StringVar(&o.results, "results", "", "file for the table; default: RESULTS.md in --out")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.arches = arch.All()
	if *arches != "" {
		a := arch.Arch(*arches)
		if !a.Valid() {
			return o, fmt.Errorf("--arch %q: use one of %v", *arches, arch.All())
		}
		o.arches = []arch.Arch{a}
	}
	if o.kernel != "" && len(o.arches) != 1 {
		return o, fmt.Errorf("--kernel needs --arch")
	}
	if o.n < 0 || o.healthy < 0 || o.load < 0 || o.jobs < 1 {
		return o, fmt.Errorf("--n, --healthy and --load must not be negative, -j must be 1 or more")
	}
	if *more != "" {
		o.kernels = strings.Split(*more, ",")
	}
	if *only != "" {
		var err error
		if o.only, err = regexp.Compile(*only); err != nil {
			return o, fmt.Errorf("--only: %w", err)
		}
	}
	if o.short {
		o.seed, o.healthy = 1, shortHealthy
	}
	for o.seed == 0 {
		o.seed = rand.Uint64() >> 33 // short enough to type
	}
	return o, o.places()
}

// places settles where things are written.
func (o *options) places() (err error) {
	if o.out == "" {
		o.out, err = os.MkdirTemp("", "unwedge-seeded-")
	} else {
		o.out, err = filepath.Abs(o.out)
	}
	if err != nil {
		return fmt.Errorf("settle --out: %w", err)
	}
	if o.results == "" {
		o.results = filepath.Join(o.out, "RESULTS.md")
	}
	return nil
}

// command is how the same score is made again.
func (o options) command() string {
	if o.short {
		return fmt.Sprintf("go run ./suites/seeded --short -j %d", o.jobs)
	}
	s := fmt.Sprintf("go run ./suites/seeded --n %d --healthy %d --seed %d -j %d --load %d", o.n, o.healthy, o.seed, o.jobs, o.load)
	if len(o.arches) == 1 {
		s += " --arch " + string(o.arches[0])
	}
	if o.kernel != "" {
		s += " --kernel " + o.kernel
	}
	if len(o.kernels) > 0 {
		s += " --healthy-kernels " + strings.Join(o.kernels, ",")
	}
	if o.only != nil {
		s += " --only " + "'" + o.only.String() + "'"
	}
	return s
}
