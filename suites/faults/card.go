package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// card is the table of a campaign.
func card(o options, done []outcome) string {
	type row struct {
		tried, survived int
		codes           map[int]int
	}
	rows := map[string]*row{}
	for _, d := range done {
		r := rows[d.trial.kind.name]
		if r == nil {
			r = &row{codes: map[int]int{}}
			rows[d.trial.kind.name] = r
		}
		r.tried++
		r.codes[d.code]++
		if len(d.lost) == 0 {
			r.survived++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Seed %d, %d trials, %d architectures.\n\n", o.seed, len(done), len(o.arches))
	b.WriteString("| fault | tried | survived | exit codes |\n|---|---|---|---|\n")
	tried, survived := 0, 0
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		var codes []string
		for _, c := range slices.Sorted(maps.Keys(r.codes)) {
			codes = append(codes, fmt.Sprintf("%d × %s", r.codes[c], codeName(c)))
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s |\n", name, r.tried, r.survived, strings.Join(codes, ", "))
		tried, survived = tried+r.tried, survived+r.survived
	}
	fmt.Fprintf(&b, "| all | %d | %d | |\n", tried, survived)
	for _, d := range done {
		if len(d.lost) > 0 {
			fmt.Fprintf(&b, "\n- %s", d)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func codeName(c int) string {
	if c < 0 {
		return "signal"
	}
	return fmt.Sprint(c)
}
