// Command bench measures what unwedge costs and how fast it answers, side by
// side in one run: `make bench`, or
//
//	make build && go run ./harness/internal/bench [--runs N] [--only PART] [--json]
//
// It boots real guests, one at a time, from the image cache, which the first run on a
// machine fills before anything is measured. Each number is a
// median with the smallest and the largest.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"text/tabwriter"
)

func main() {
	o := options{}
	flag.IntVar(&o.runs, "runs", 5, "measurements of each thing")
	flag.StringVar(&o.unwedge, "unwedge", "bin/unwedge", "the program to measure")
	flag.StringVar(&o.only, "only", "", "measure one part: overhead, processor, explained, proven, warm-start, parser, explain or memory")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	runs    int
	unwedge string
	only    string
	json    bool
}

// Sample is one thing that was measured several times.
type Sample struct {
	What   string    `json:"what"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	Note   string    `json:"note,omitempty"`
}

func (s *Sample) add(v float64) { s.Values = append(s.Values, v) }

// median is 0 of nothing.
func (s *Sample) median() float64 {
	if len(s.Values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(s.Values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func run(ctx context.Context, o options, w io.Writer) error {
	if o.runs < 1 {
		return fmt.Errorf("--runs %d: use 1 or more", o.runs)
	}
	if _, err := os.Stat(o.unwedge); err != nil {
		return fmt.Errorf("find the program: %w: run `make build`", err)
	}
	dir, err := os.MkdirTemp("", "unwedge-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir}
	for _, part := range b.parts() {
		if o.only != "" && o.only != part.name {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return err
		}
	}
	if len(b.samples) == 0 {
		return fmt.Errorf("--only %s: no such part", o.only)
	}
	if o.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(b.samples)
	}
	return table(w, b.samples)
}

// part is what is measured together.
type part struct {
	name    string
	measure func(context.Context) error
}

func (b *bench) parts() []part {
	return []part{{"overhead", b.overhead}, {"processor", b.processor}, {"explained", b.explained}, {"proven", b.proven}, {"warm-start", b.warmStart}, {"parser", b.parser}, {"explain", b.explain}, {"memory", b.memory}}
}

func table(w io.Writer, samples []*Sample) error {
	fmt.Fprintf(w, "%s, %d CPUs\n\n", runtime.GOARCH, runtime.NumCPU())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "measured\tmedian\tmin–max\truns\tnote")
	for _, s := range samples {
		fmt.Fprintf(t, "%s\t%.2f %s\t%.2f–%.2f\t%d\t%s\n", s.What, s.median(), s.Unit,
			slices.Min(s.Values), slices.Max(s.Values), len(s.Values), s.Note)
	}
	return t.Flush()
}
