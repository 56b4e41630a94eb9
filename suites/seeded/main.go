// Command seeded is the score: it makes boots fail on purpose, in ways that are
// drawn at random, and counts how often unwedge notices, says rightly what kind
// of failure it is, and names the place; and it boots unmodified kernels and
// counts the false alarms.
//
//	make score
//	go run ./suites/seeded [--arch A] [--n N] [--healthy N] [--seed S] [-j N] [--kernel K] [--out DIR] [--json]
//
// A healthy boot is traced first, by QEMU: which functions it enters, in which
// order. The mutants are drawn from those, the same number from each phase of
// the boot, so that a fault is known to be on the way. The table and the list of
// every seed go to OUT/RESULTS.md, the artifacts of what was not all right to
// OUT/runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
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
	more    []string // kernels that only the healthy boots use
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "seeded:", err)
		os.Exit(2)
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
	fs.IntVar(&o.n, "n", 20, "mutants for each architecture")
	fs.IntVar(&o.healthy, "healthy", 10, "healthy boots for each architecture")
	fs.BoolVar(&o.user, "user", true, "also the faults of user space")
	fs.IntVar(&o.jobs, "j", 1, "boots at a time")
	fs.Uint64Var(&o.seed, "seed", 0, "what the draw depends on; 0 draws a seed, which is printed")
	fs.StringVar(&o.kernel, "kernel", "", "kernel argument, of the one architecture given; default: the default kernels")
	more := fs.String("healthy-kernels", "", "more kernels for the healthy boots, with commas between them")
	fs.StringVar(&o.out, "out", "", "where runs are kept and results are collected; a second run with it goes on; default: a new temporary directory")
	fs.StringVar(&o.results, "results", "", "the file to write the table to; default: RESULTS.md in --out")
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
	if o.n < 0 || o.healthy < 0 || o.jobs < 1 {
		return o, fmt.Errorf("--n, --healthy and -j: use no negative number, and at least one job")
	}
	if *more != "" {
		o.more = strings.Split(*more, ",")
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
	s := fmt.Sprintf("go run ./suites/seeded --n %d --healthy %d --seed %d -j %d", o.n, o.healthy, o.seed, o.jobs)
	if len(o.arches) == 1 {
		s += " --arch " + string(o.arches[0])
	}
	if o.kernel != "" {
		s += " --kernel " + o.kernel
	}
	if len(o.more) > 0 {
		s += " --healthy-kernels " + strings.Join(o.more, ",")
	}
	return s
}
