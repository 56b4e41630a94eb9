// Package calibrate remembers how long good boots took on this host, so that
// the watch's limits are multiples of something measured. One small JSON file
// per accelerator, arch and QEMU version; KVM is never compared with TCG.
package calibrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/result"
)

// keep is how many boots of each kind are remembered.
const keep = 20

// Class is what makes boots comparable.
type Class struct {
	Arch, Accel, QEMU string
}

// Boot is what one good boot showed.
type Boot struct {
	// Kind is the kind of image booted; only "tiny" boots give the unit.
	Kind string `json:"kind"`
	// Unit is the wall time to the agent's first report.
	Unit time.Duration `json:"unit_ns"`
	// IdleGap and BusyGap are the longest quiet times in it.
	IdleGap time.Duration `json:"idle_gap_ns"`
	BusyGap time.Duration `json:"busy_gap_ns"`
}

// Store is the directory of the calibration files.
type Store struct{ dir string }

// Open returns the store at dir, which need not exist.
func Open(dir string) *Store { return &Store{dir} }

// unitKind is the kind of image whose boots give the unit.
const unitKind = "tiny"

// Reference returns what is known for a kind of image; ok is false where no
// boot that gives the unit was seen.
func (s *Store) Reference(c Class, kind string) (ref result.Reference, ok bool, err error) {
	boots, err := s.read(c)
	if err != nil {
		return result.Reference{}, false, err
	}
	var units, idle, busy []time.Duration
	for _, b := range boots {
		if b.Kind == unitKind {
			units = append(units, b.Unit)
		}
		if b.Kind == kind {
			idle, busy = append(idle, b.IdleGap), append(busy, b.BusyGap)
		}
	}
	ref.IdleGap, ref.BusyGap = high(idle), high(busy)
	if len(units) == 0 {
		return ref, false, nil
	}
	slices.Sort(units)
	ref.Unit = units[(len(units)-1)/2]
	return ref, true, nil
}

// high is the longest of the times, or the second longest where there are ten or
// more: one odd boot shall not rule all that follow.
func high(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	switch n := len(ds); {
	case n == 0:
		return 0
	case n >= 10:
		return ds[n-2]
	default:
		return ds[n-1]
	}
}

// Learn adds a good boot. Two processes may learn at once.
func (s *Store) Learn(c Class, b Boot) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("remember calibration: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("remember calibration: %w", err)
	}
	defer lock.Close()
	// Held for a read and a write of a small file only.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("remember calibration: lock: %w", err)
	}
	boots, err := s.read(c)
	if err != nil {
		boots = nil // a torn file is made anew
	}
	boots = trim(append(boots, b), b.Kind)
	out, err := json.MarshalIndent(boots, "", "  ")
	if err != nil {
		return fmt.Errorf("remember calibration: %w", err)
	}
	tmp := s.path(c) + ".tmp"
	if err := os.WriteFile(tmp, append(out, '\n'), 0o644); err != nil {
		return fmt.Errorf("remember calibration: %w", err)
	}
	if err := os.Rename(tmp, s.path(c)); err != nil {
		return fmt.Errorf("remember calibration: %w", err)
	}
	return nil
}

// trim drops the oldest boots of a kind beyond keep.
func trim(boots []Boot, kind string) []Boot {
	n := 0
	for _, b := range boots {
		if b.Kind == kind {
			n++
		}
	}
	return slices.DeleteFunc(boots, func(b Boot) bool {
		if b.Kind == kind && n > keep {
			n--
			return true
		}
		return false
	})
}

func (s *Store) path(c Class) string {
	clean := func(w string) string {
		return strings.Map(func(r rune) rune {
			if r == '/' || r <= ' ' {
				return '-'
			}
			return r
		}, w)
	}
	return filepath.Join(s.dir, clean(c.Accel)+"-"+clean(c.Arch)+"-"+clean(c.QEMU)+".json")
}

func (s *Store) read(c Class) ([]Boot, error) {
	b, err := os.ReadFile(s.path(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read calibration: %w", err)
	}
	var boots []Boot
	if err := json.Unmarshal(b, &boots); err != nil {
		return nil, fmt.Errorf("read calibration %s: %w: remove the file", s.path(c), err)
	}
	return boots, nil
}
