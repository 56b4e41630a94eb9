package store

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Kernel is a kernel that was booted.
type Kernel struct {
	// ID is the history's own number for it.
	ID int64 `json:"-"`
	// Release is what `uname -r` prints; BuildID and SHA256 are as in a Result.
	Release string `json:"release"`
	BuildID string `json:"build_id,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	// Fault is what was changed in it on purpose, empty for an unchanged kernel.
	Fault string `json:"seeded_fault,omitempty"`
	// Origin is the kernel argument of the last run.
	Origin string `json:"origin,omitempty"`
	// First and Last are when its first and last run began.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// Cell is what kernels were booted in.
type Cell struct {
	// ID is the history's own number for it.
	ID int64 `json:"-"`
	// Name is the scenario's with its axes; Variant tells scenarios of one name apart.
	Name    string `json:"name"`
	Variant string `json:"variant"`
}

// Host is a kind of host.
type Host struct {
	// ID is the history's own number for it.
	ID int64 `json:"-"`
	// Class is the processor's model and the number of CPUs, empty where it is not known;
	// Accel is the accelerator and QEMU its version.
	Class string `json:"class,omitempty"`
	Accel string `json:"accel"`
	QEMU  string `json:"qemu"`
}

// String names it on one line.
func (h Host) String() string {
	words := []string{h.Accel, "QEMU " + h.QEMU}
	if h.Class != "" {
		words = append(words, h.Class)
	}
	return strings.Join(words, ", ")
}

// Run is one run.
type Run struct {
	// ID is the history's own number for it.
	ID     int64  `json:"id"`
	Kernel Kernel `json:"kernel"`
	Cell   Cell   `json:"cell"`
	Host   Host   `json:"host"`
	// Failure is what failed it; nil where it ended as its scenario asks. Known says that
	// a list of known failures has it.
	Failure *Failure `json:"failure,omitempty"`
	Known   bool     `json:"known,omitempty"`
	// Started is when it began, Verdict how long it took to the verdict.
	Started time.Time     `json:"started"`
	Verdict time.Duration `json:"verdict_ns"`
	// Outcome, Unclean and Stage are as in its Result.
	Outcome string `json:"outcome"`
	Unclean bool   `json:"unclean,omitempty"`
	Stage   string `json:"stage,omitempty"`
	// Dir is its directory, which may be gone.
	Dir string `json:"dir"`
}

// Filter selects runs. Its zero value selects all.
type Filter struct {
	// ID is one run's, Kernel one kernel's, Cell one cell's, Failure one failure's; 0
	// selects all.
	ID, Kernel, Cell, Failure int64
	// Scenario is a scenario, or a cell by its whole name; Arch an architecture.
	Scenario, Arch string
	// Release is a release, or the beginning of a build ID.
	Release string
	// Signature is a failure's, or a part of its title.
	Signature string
	// Failed selects runs that failed.
	Failed bool
	// Since selects runs that began then or later.
	Since time.Time
	// Limit bounds the answer; 0 means all.
	Limit int
}

// where is the filter in SQL, over the tables run, kernel (k), cell (c) and failure (f).
func (f Filter) where() (sqlText string, args []any) {
	var conds []string
	add := func(use bool, cond string, values ...any) {
		if use {
			conds, args = append(conds, cond), append(args, values...)
		}
	}
	add(f.ID != 0, "r.id = ?", f.ID)
	add(f.Kernel != 0, "r.kernel = ?", f.Kernel)
	add(f.Cell != 0, "r.cell = ?", f.Cell)
	add(f.Failure != 0, "r.failure = ?", f.Failure)
	add(f.Scenario != "", "(c.scenario = ? OR c.name = ?)", f.Scenario, f.Scenario)
	add(f.Arch != "", "c.arch = ?", f.Arch)
	add(f.Release != "", "(k.release = ? OR length(?) >= 8 AND substr(k.build_id, 1, length(?)) = ?)", f.Release, f.Release, f.Release, f.Release)
	add(f.Signature != "", "r.failure IN (SELECT id FROM failure WHERE signature = ? OR instr(title, ?) > 0)", f.Signature, f.Signature)
	add(f.Failed, "r.failure IS NOT NULL")
	add(!f.Since.IsZero(), "r.started >= ?", nanos(f.Since))
	if len(conds) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(conds, " AND "), args
}

const (
	kernelColumns = "k.id, k.release, k.build_id, k.sha256, k.fault, k.origin, k.first, k.last"
	runTables     = " FROM run r JOIN kernel k ON k.id = r.kernel JOIN cell c ON c.id = r.cell JOIN host h ON h.id = r.host LEFT JOIN failure f ON f.id = r.failure"
)

// nanosTo scans a time.
type nanosTo struct{ t *time.Time }

func (n nanosTo) Scan(v any) error {
	i, _ := v.(int64) // NULL is no time
	*n.t = timeOf(i)
	return nil
}

func (k *Kernel) fields() []any {
	return []any{&k.ID, &k.Release, &k.BuildID, &k.SHA256, &k.Fault, &k.Origin, nanosTo{&k.First}, nanosTo{&k.Last}}
}

// Runs returns runs, the last first.
func (s *Store) Runs(ctx context.Context, f Filter) ([]Run, error) {
	where, args := f.where()
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	return list(ctx, s, "SELECT r.id, "+kernelColumns+", c.id, c.name, c.variant, h.id, h.class, h.accel, h.qemu, f.signature, f.title, f.cause, r.known, r.started, r.verdict, r.outcome, r.unclean, r.stage, r.dir"+
		runTables+where+" ORDER BY r.started DESC, r.id DESC LIMIT ?", func(rows *sql.Rows) (r Run, err error) {
		var signature, title, cause sql.NullString
		fields := append([]any{&r.ID}, r.Kernel.fields()...)
		fields = append(fields, &r.Cell.ID, &r.Cell.Name, &r.Cell.Variant, &r.Host.ID, &r.Host.Class, &r.Host.Accel, &r.Host.QEMU,
			&signature, &title, &cause, &r.Known, nanosTo{&r.Started}, &r.Verdict, &r.Outcome, &r.Unclean, &r.Stage, &r.Dir)
		if err = rows.Scan(fields...); signature.Valid {
			r.Failure = &Failure{signature.String, title.String, cause.String}
		}
		return r, err
	}, append(args, limit)...)
}

// Group is how many runs there were of one kind.
type Group struct {
	// Name is the kernel's release, the cell's name, or the failure's title.
	Name string `json:"name"`
	// ID is the kernel's build ID, or the failure's signature; empty for a cell.
	ID string `json:"id,omitempty"`
	// Runs and Failed are how many there were and how many of them failed.
	Runs   int `json:"runs"`
	Failed int `json:"failed"`
	// First and Last are when the first and the last of them began.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// By is what runs are grouped by.
type By string

// What runs are grouped by.
const (
	ByKernel    By = "kernel"
	ByScenario  By = "scenario"
	BySignature By = "signature"
)

// Groups counts the runs that a filter selects, the group with the latest run first.
func (s *Store) Groups(ctx context.Context, by By, f Filter) ([]Group, error) {
	columns := map[By]string{ByKernel: "k.release, k.build_id", ByScenario: "c.name, ''", BySignature: "f.title, f.signature"}[by]
	if by == BySignature {
		f.Failed = true
	}
	where, args := f.where()
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	return list(ctx, s, "SELECT "+columns+", count(*), count(r.failure), min(r.started), max(r.started)"+runTables+where+
		" GROUP BY 1, 2 ORDER BY max(r.started) DESC LIMIT ?", func(rows *sql.Rows) (g Group, err error) {
		return g, rows.Scan(&g.Name, &g.ID, &g.Runs, &g.Failed, nanosTo{&g.First}, nanosTo{&g.Last})
	}, append(args, limit)...)
}

// Kernels returns all kernels, that with the latest run first.
func (s *Store) Kernels(ctx context.Context) ([]Kernel, error) {
	return list(ctx, s, "SELECT "+kernelColumns+" FROM kernel k ORDER BY k.last DESC, k.id DESC", func(rows *sql.Rows) (k Kernel, err error) {
		return k, rows.Scan(k.fields()...)
	})
}

// Cells returns all cells, by name.
func (s *Store) Cells(ctx context.Context) ([]Cell, error) {
	return list(ctx, s, "SELECT id, name, variant FROM cell ORDER BY name, variant", func(rows *sql.Rows) (c Cell, err error) {
		return c, rows.Scan(&c.ID, &c.Name, &c.Variant)
	})
}

// list runs a query.
func list[T any](ctx context.Context, s *Store, query string, scan func(*sql.Rows) (T, error), args ...any) ([]T, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.trouble("read", err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, s.trouble("read", err)
		}
		out = append(out, v)
	}
	return out, s.trouble("read", rows.Err())
}

// Name is the release, with the first digits of its checksum where it was changed on
// purpose.
func (k Kernel) Name() string {
	name := k.Release
	if name == "" {
		name = "an unknown kernel"
	}
	if k.Fault != "" {
		name += " (changed, " + k.SHA256[:min(8, len(k.SHA256))] + ")"
	}
	return name
}
