package probe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/unwedge/unwedge/harness/internal/probe"
	"github.com/unwedge/unwedge/harness/internal/qmp"
)

// monitor answers QMP commands, and keeps them.
type monitor struct {
	said   []string
	answer func(cmd, args string) (string, error)
}

func (m *monitor) Execute(ctx context.Context, cmd string, args, out any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := json.Marshal(args)
	if err != nil {
		return err
	}
	m.said = append(m.said, cmd+" "+string(b))
	ret := "{}"
	if m.answer != nil {
		if ret, err = m.answer(cmd, string(b)); err != nil {
			return err
		}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal([]byte(ret), out)
}

func TestParse(t *testing.T) {
	for words, want := range map[string]string{
		"": "", "all": "fail-syscall input virtio-rng", "virtio-rng fail-syscall virtio-rng": "fail-syscall virtio-rng", "input all": "fail-syscall input virtio-rng",
	} {
		names, err := probe.Parse(strings.Fields(words))
		var got []string
		for _, n := range names {
			got = append(got, string(n))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v; want %q", words, got, err, want)
		}
	}
	if _, err := probe.Parse([]string{"all", "sledgehammer"}); err == nil || !strings.Contains(err.Error(), `"sledgehammer"`) || !strings.Contains(err.Error(), "fail-syscall") {
		t.Errorf("error %v, want one that names it, and what there is", err)
	}
}

func TestPlug(t *testing.T) {
	m := &monitor{}
	if err := probe.Plug(t.Context(), m, "slot0"); err != nil {
		t.Fatal(err)
	}
	if len(m.said) != 2 || !strings.HasPrefix(m.said[0], "object-add") || !strings.Contains(m.said[1], `"bus":"slot0"`) {
		t.Errorf("said %q", m.said)
	}
	no := errors.New("no hot-plug here")
	m.answer = func(cmd, _ string) (string, error) {
		if cmd == "device_add" {
			return "", no
		}
		return "{}", nil
	}
	if err := probe.Plug(t.Context(), m, "slot0"); !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
}

// The key is pressed and released in turn, at times that differ.
func TestPress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		m := &monitor{answer: func(string, string) (string, error) { times = append(times, time.Now()); return "{}", nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n, err := probe.Press(ctx, m)
		if err != nil || n < 200 || n != len(m.said) {
			t.Fatalf("%d changes, %d commands, %v", n, len(m.said), err)
		}
		pauses := map[time.Duration]bool{}
		for i, s := range m.said {
			if down := strings.Contains(s, `"down":true`); down != (i%2 == 0) || !strings.Contains(s, `"shift"`) {
				t.Errorf("change %d: %s", i, s)
			}
			if i > 0 {
				pauses[times[i].Sub(times[i-1])] = true
			}
		}
		if len(pauses) < n/2 {
			t.Errorf("%d different pauses of %d", len(pauses), n-1)
		}
	})
}

func TestType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var b bytes.Buffer
		n, err := probe.Type(ctx, &b)
		if err != nil || n < 1000 || n != b.Len() || len(bytes.Trim(b.Bytes(), "\x11")) > 0 {
			t.Errorf("%d bytes, %d typed, %v", n, b.Len(), err)
		}
	})
}

func TestFeedingThatFails(t *testing.T) {
	no := errors.New("no")
	m := &monitor{answer: func(string, string) (string, error) { return "", no }}
	if n, err := probe.Press(t.Context(), m); n != 0 || !errors.Is(err, no) {
		t.Errorf("pressed %d times, %v", n, err)
	}
	closed, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if n, err := probe.Type(t.Context(), closed); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("typed %d bytes, %v", n, err)
	}
}

// jobs is a QEMU that concludes each job at the second look, with an error for
// the command of that name.
func jobs(fails string) *monitor {
	var id, cmd string
	looks := 0
	return &monitor{answer: func(c, args string) (string, error) {
		switch c {
		case "query-block":
			return `[{"inserted":{"node-name":"#block1","ro":false}},{"inserted":{"node-name":"#block2","ro":true}},{}]`, nil
		case "query-jobs":
			if looks++; looks%2 == 1 {
				return `[{"id":"other","status":"concluded","error":"not ours"},{"id":"` + id + `","status":"running"}]`, nil
			}
			if cmd == fails {
				return `[{"id":"` + id + `","status":"concluded","error":"State blocked"}]`, nil
			}
			return `[{"id":"` + id + `","status":"concluded"}]`, nil
		case "blockdev-create", "snapshot-save", "snapshot-load":
			var a struct {
				ID string `json:"job-id"`
			}
			if err := json.Unmarshal([]byte(args), &a); err != nil {
				return "", err
			}
			id, cmd = a.ID, c
		}
		return "{}", nil
	}}
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, path := jobs("snapshot-load"), filepath.Join(t.TempDir(), "state")
		s, err := probe.Save(t.Context(), m, path)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(m.said, "\n")
		if !strings.Contains(all, `"devices":["probe-state","#block1"]`) || strings.Contains(all, "#block2") {
			t.Errorf("the writable disk, and it alone, belongs to the state:\n%s", all)
		}
		if err := s.Load(t.Context()); !errors.Is(err, probe.ErrNoSnapshot) || !strings.Contains(err.Error(), "State blocked") {
			t.Errorf("error %v", err)
		}
	})
}

// The file has no name once QEMU has it open, so that it never outlives QEMU.
func TestSnapshotHasNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, path := jobs(""), filepath.Join(t.TempDir(), "state")
		answer := m.answer
		m.answer = func(cmd, args string) (string, error) {
			_, err := os.Stat(path)
			switch there := err == nil; cmd {
			case "blockdev-create":
				if !there {
					if err := os.WriteFile(path, nil, 0o600); err != nil {
						return "", err
					}
				}
			case "blockdev-add":
				if !there {
					return "", errors.New("no such file")
				}
			case "snapshot-save":
				if there {
					t.Error("the file still has a name")
				}
			}
			return answer(cmd, args)
		}
		if _, err := probe.Save(t.Context(), m, path); err != nil {
			t.Fatal(err)
		}
	})
}

// QEMU is silent while it reads the guest's memory.
func TestSnapshotWaitsForASilentQEMU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := jobs("")
		s, err := probe.Save(t.Context(), m, filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		answer, silent := m.answer, 3
		m.answer = func(cmd, args string) (string, error) {
			ret, err := answer(cmd, args)
			if silent--; silent >= 0 {
				return "", fmt.Errorf("%s: %w", cmd, qmp.ErrNoReply)
			}
			return ret, err
		}
		if err := s.Load(t.Context()); err != nil || silent >= 0 {
			t.Errorf("%v, and %d times more it would not have answered", err, silent)
		}
	})
}

func TestSnapshotThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := probe.Save(t.Context(), jobs("snapshot-save"), path)
		if s != nil || err == nil || !strings.Contains(err.Error(), "snapshot-save: State blocked") {
			t.Errorf("%v, error %v", s, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the state's file was left behind")
		}
		never := &monitor{answer: func(c, _ string) (string, error) {
			if c == "query-jobs" {
				return "[]", nil
			}
			return "{}", nil
		}}
		if _, err := probe.Save(t.Context(), never, path); err == nil || !strings.Contains(err.Error(), "not done within") {
			t.Errorf("error %v of a job that never ends", err)
		}
	})
}
