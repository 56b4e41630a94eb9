package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
)

// Types is where a kernel's types are found that has none itself; "" is one with BTF.
type Types string

// The places: its headers, or the guest's memory alone.
const (
	Compiled Types = "compiled"
	Inferred Types = "inferred"
)

// withoutBTF are the types of the seeds in turn: a third of the kernels have none
// themselves. There are eleven, so that they meet every phase of the boot and every
// handicap.
var withoutBTF = []Types{Inferred, "", "", Compiled, "", "", Inferred, "", "", Inferred, ""}

func typesOf(place int) Types { return withoutBTF[place%len(withoutBTF)] }

// suffix is what it adds to a seed's name.
func (t Types) suffix() string {
	if t == "" {
		return ""
	}
	return ", types " + string(t)
}

// of is the same truth for another kernel.
func (t Truth) of(types Types) Truth {
	t.ID, t.Types = t.ID+types.suffix(), types
	return t
}

// kernel is the kernel with such types.
func (b *bench) kernel(t Types) *candidate.Candidate {
	if t == "" {
		return b.stock
	}
	return b.untyped[t]
}

// withoutTypes writes the kernel with its types wiped; of one that has none itself there
// is nothing to write.
func (b *bench) withoutTypes(ctx context.Context) (map[Types]*candidate.Candidate, error) {
	wiped, ok := kerneltest.WithoutBTF(b.payload)
	if !ok {
		return map[Types]*candidate.Candidate{Inferred: b.stock, Compiled: b.stock}, nil
	}
	path := filepath.Join(b.out, "kernel-"+string(b.arch))
	if err := os.WriteFile(path, wiped, 0o644); err != nil {
		return nil, fmt.Errorf("write a kernel without types: %w", err)
	}
	c, err := b.plan.Candidate(ctx, path, b.arch)
	if err != nil {
		return nil, err
	}
	inferred := *c
	inferred.ModulesDir = b.stock.ModulesDir
	compiled := inferred
	if h, err := b.stock.FindHeaders(ctx, candidate.Options{Arch: b.arch, Cache: b.plan.Store}); err == nil {
		compiled.HeadersDir = h.Dir
	} else {
		fmt.Fprintf(b.log, "%s: types are inferred where they were to be compiled: %v\n", b.arch, err)
	}
	return map[Types]*candidate.Candidate{Inferred: &inferred, Compiled: &compiled}, nil
}

// typesTable shows apart how kernels without BTF do.
func (c *Card) typesTable(w io.Writer) {
	fmt.Fprint(w, "\n## By the kernel's types\n\n"+
		"| types | seeded | detected | right kind | right cause | right task | located | all right | stall to diagnosis: median | worst |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, t := range []Types{"", Compiled, Inferred} {
		var of []Score
		for _, s := range c.Scores {
			if s.Types == t {
				of = append(of, s)
			}
		}
		n := count(of)
		if n.seeded == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", cmp.Or(string(t), "BTF"), n.seeded, ratio(n.detected, n.seeded),
			ratio(n.kind, n.seeded), ratio(n.cause, n.seeded), ratio(n.taskRight, n.tasks), ratio(n.located, n.seeded), ratio(n.right, n.seeded), n.median(), n.worst())
	}
}
