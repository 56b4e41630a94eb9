// Command simulate plays package search on random histories and prints, as Markdown, how often its answers are right against
// what it says of them, and what they cost against plain bisection with fixed repeats and against git bisect.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	var b bench
	flag.IntVar(&b.histories, "histories", 1000, "how many random histories each line is played on")
	flag.Uint64Var(&b.seed, "seed", 1, "what the random numbers start from")
	flag.IntVar(&b.jobs, "j", 1, "how many histories to play at a time; the figures do not depend on it")
	flag.Parse()
	if flag.NArg() > 0 || b.histories < 10 || b.histories > 100_000 || b.jobs < 1 {
		fmt.Fprintln(os.Stderr, "usage: simulate [-histories 10…100000] [-seed N] [-j N]")
		os.Exit(2)
	}
	fmt.Printf("# What the search achieves, in simulation\n\n    go run ./harness/internal/bisect/search/simulate %s\n\n", strings.Join(os.Args[1:], " "))
	for _, part := range []func() error{b.intro, b.steady, b.skips, b.calibration, b.byRate, b.wrongVerdicts, b.costs} {
		if err := part(); err != nil {
			fmt.Fprintln(os.Stderr, "simulate:", err)
			os.Exit(1)
		}
	}
}
