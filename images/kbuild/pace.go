package kbuild

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// pace says how far a build is: how many steps an earlier one of the same kind took.
type pace struct {
	started time.Time
	total   int // 0 where no earlier build tells
}

// text is "1234 steps", or, where a total is known and not yet passed, "1234 of about
// 2900 steps, 42%, 12m left". The time left supposes that steps go on as they did.
func (p pace) text(done int, now time.Time) string {
	if p.total == 0 || done > p.total || done == 0 {
		return fmt.Sprintf("%d steps", done)
	}
	s := fmt.Sprintf("%d of about %d steps, %d%%", done, p.total, 100*done/p.total)
	const few = 20 // the first steps are not like the others
	if done < few {
		return s
	}
	left := time.Duration(float64(now.Sub(p.started)) / float64(done) * float64(p.total-done))
	if left < time.Minute {
		return fmt.Sprintf("%s, %ds left", s, int(left.Seconds()))
	}
	return fmt.Sprintf("%s, %dm left", s, int(left.Round(time.Minute).Minutes()))
}

// maxCounts bounds what the file of counts may hold.
const maxCounts = 1000

// counts are the steps of earlier builds from nothing, by what was built.
type counts map[string]int

func readCounts(file string) counts {
	c := counts{}
	b, err := os.ReadFile(file)
	if file == "" || err != nil || json.Unmarshal(b, &c) != nil || len(c) > maxCounts {
		return counts{} // builds are then shown without a total
	}
	return c
}

// keep remembers a count. That it could not be written is no fault of the build.
func (c counts) keep(file, kind string, steps int) {
	c[kind] = steps
	b, err := json.Marshal(c)
	if file == "" || err != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".steps-")
	if err != nil {
		return
	}
	_, err = tmp.Write(b)
	if closed := tmp.Close(); err != nil || closed != nil || os.Rename(tmp.Name(), file) != nil {
		os.Remove(tmp.Name())
	}
}

// kind names what decides how many steps a build from nothing takes.
func (s Spec) kind() string {
	words := []string{string(s.Arch), s.Config, strings.Join(s.Targets, "+"), fmt.Sprint(s.NoModules)}
	for _, f := range s.Fragments {
		words = append(words, f.Name)
	}
	return strings.Join(words, " ")
}

// fresh says that nothing was built in Output yet, so that all steps are to be done.
func (s Spec) fresh() bool {
	return !exists(filepath.Join(s.Output, "vmlinux.o")) && !exists(filepath.Join(s.Output, "vmlinux"))
}
