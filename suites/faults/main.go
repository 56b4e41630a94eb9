// Command faults is a campaign against unwedge itself: it breaks what a boot rests on, the
// program, QEMU, the disk, the cache, the guest, at moments that are drawn at random, and
// checks that nothing is lost, left behind or left running.
//
//	make faults
//	go run ./suites/faults [--n N] [--seed S] [--arch A] [--only REGEXP] [-j N] [--out DIR] [--results FILE]
//	go run ./suites/faults --short
//
// Each trial has a cache, a state directory and a directory for temporary files of its own,
// and boots a real guest in them. After it, no process of it may be alive, nothing may be
// mounted or left in the directory for temporary files, what was written must be whole, the
// exit code must be one that the fault allows, and a boot with the same cache must succeed.
// Faults that only root can make, such as a full disk, are left out for others.
// The table goes to standard output and to --results, what each trial printed to --out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/scenarios/arch"
)

type options struct {
	n, jobs int
	seed    uint64
	arches  []arch.Arch
	only    *regexp.Regexp
	unwedge string
	out     string
	results string
	short   bool
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("faults", flag.ContinueOnError)
	fs.IntVar(&o.n, "n", 500, "trials, in turns of both architectures and of all faults")
	fs.IntVar(&o.jobs, "j", 1, "trials at a time")
	fs.Uint64Var(&o.seed, "seed", 0, "seed of the random draw; 0 picks one and prints it")
	only := fs.String("only", "", "only the faults that match this regular expression")
	a := fs.String("arch", "", "one architecture; default: both")
	fs.StringVar(&o.unwedge, "unwedge", "bin/unwedge", "the program to break")
	fs.StringVar(&o.out, "out", "", "directory for what the trials print; default: a new temporary one")
	fs.StringVar(&o.results, "results", "", "file for the table, too")
	fs.BoolVar(&o.short, "short", false, "a few trials, always the same")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.arches = arch.All()
	if *a != "" {
		if o.arches = []arch.Arch{arch.Arch(*a)}; !o.arches[0].Valid() {
			return o, fmt.Errorf("--arch %q: use one of %v", *a, arch.All())
		}
	}
	if o.n < 1 || o.jobs < 1 {
		return o, errors.New("--n and -j must be 1 or more")
	}
	if *only != "" {
		var err error
		if o.only, err = regexp.Compile(*only); err != nil {
			return o, fmt.Errorf("--only: %w", err)
		}
	}
	if o.short {
		o.seed, o.n, o.only = 1, shortTrials, shortKinds
	}
	for o.seed == 0 {
		o.seed = rand.Uint64() >> 33 // short enough to type
	}
	return o, nil
}

// The short campaign has some kinds of faults, each once.
var shortKinds = regexp.MustCompile(`SIGKILL|SIGTERM|twice|terminal goes|3 s|room for the (run|state)|directory goes|torn|entry goes|another|escapes`)

const shortTrials = 14

func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	if o.unwedge, err = filepath.Abs(o.unwedge); err != nil {
		return err
	}
	if o.out == "" {
		if o.out, err = os.MkdirTemp("", "unwedge-faults-"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if o.out, err = filepath.Abs(o.out); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "seed %d, in %s\n", o.seed, o.out)
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	trials := l.draw()
	if len(trials) == 0 {
		return fmt.Errorf("--only %s: no such fault", o.only)
	}
	var mu sync.Mutex
	var done []outcome
	next := make(chan trial)
	var wg sync.WaitGroup
	for range o.jobs {
		wg.Go(func() {
			for t := range next {
				got := l.try(ctx, t)
				mu.Lock()
				done = append(done, got)
				fmt.Fprintf(stderr, "%d/%d %s\n", len(done), len(trials), got)
				mu.Unlock()
			}
		})
	}
	for _, t := range trials {
		if ctx.Err() == nil {
			next <- t
		}
	}
	close(next)
	wg.Wait()
	table := card(o, done) // of what was done, if it was interrupted
	if _, err := io.WriteString(stdout, table); err != nil {
		return err
	}
	if o.results != "" {
		if err := os.WriteFile(o.results, []byte(table), 0o644); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var bad []string
	for _, d := range done {
		if len(d.lost) > 0 {
			bad = append(bad, d.String())
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d of %d trials lost something: %s", len(bad), len(done), strings.Join(bad, "; "))
	}
	return nil
}
