package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tally is how often kernels were booted in a cell on a kind of host.
type Tally struct {
	Kernel int64
	Cell   Cell
	Host   Host
	// Runs is how many runs there were, Failed how many of them failed.
	Runs, Failed int
	// First and Last are when the first and the last of them began.
	First, Last time.Time
}

// Count is how often a failure or a finding was seen in a cell on a kind of host.
type Count struct {
	Kernel int64
	Cell   Cell
	Host   Host
	// Signature identifies it: a failure's signature, a finding's title.
	Signature, Title string
	// Severity is a finding's, empty of a failure.
	Severity string
	// Runs is how many runs showed it, Known how many of them knew it.
	Runs, Known int
}

// Finding says that it is a finding and not a failure.
func (c Count) Finding() bool { return c.Severity != "" }

// StageTime is when a run reached a stage, in seconds of guest time.
type StageTime struct {
	Run, Kernel int64
	Cell        Cell
	Host        Host
	Stage       string
	At          float64
}

// InitcallTime is how long an initcall of a run took, in seconds of guest time. One that
// took less than a millisecond is not recorded.
type InitcallTime struct {
	Run  int64
	Cell Cell
	Host Host
	Name string
	Took float64
}

// Before is where a failure or finding was seen earlier.
type Before struct {
	Cell      int64  `json:"-"`
	Signature string `json:"-"`
	Finding   bool   `json:"-"`
	// Runs is in how many runs, Last when the last of them began, Release its kernel.
	Runs    int       `json:"runs"`
	Last    time.Time `json:"last"`
	Release string    `json:"release"`
}

// among is the condition that a column is one of the numbers.
func among(column string, ids []int64) string {
	return column + " IN (" + strings.ReplaceAll(strings.Trim(fmt.Sprint(ids), "[]"), " ", ",") + ")"
}

const placeColumns = "t.kernel, c.id, c.name, c.variant, h.id, h.class, h.accel, h.qemu"

const placeTables = " JOIN cell c ON c.id = t.cell JOIN host h ON h.id = t.host"

func place(kernel *int64, c *Cell, h *Host) []any {
	return []any{kernel, &c.ID, &c.Name, &c.Variant, &h.ID, &h.Class, &h.Accel, &h.QEMU}
}

// Tallies counts the runs of kernels.
func (s *Store) Tallies(ctx context.Context, kernels ...int64) ([]Tally, error) {
	return list(ctx, s, "SELECT "+placeColumns+", t.runs, t.failed, t.first, t.last FROM tally t"+placeTables+" WHERE "+among("t.kernel", kernels), func(rows *sql.Rows) (t Tally, err error) {
		return t, rows.Scan(append(place(&t.Kernel, &t.Cell, &t.Host), &t.Runs, &t.Failed, nanosTo{&t.First}, nanosTo{&t.Last})...)
	})
}

// Neighbours are the kernels that were booted in a cell in which one of these was, too.
func (s *Store) Neighbours(ctx context.Context, kernels ...int64) ([]int64, error) {
	return list(ctx, s, "SELECT DISTINCT o.kernel FROM tally o WHERE o.cell IN (SELECT t.cell FROM tally t WHERE "+among("t.kernel", kernels)+")", func(rows *sql.Rows) (id int64, err error) {
		return id, rows.Scan(&id)
	})
}

// Counts counts the failures and findings of kernels.
func (s *Store) Counts(ctx context.Context, kernels ...int64) ([]Count, error) {
	of := among("t.kernel", kernels)
	return list(ctx, s, "SELECT "+placeColumns+", f.signature, f.title, '', t.runs, t.known FROM tally_failure t JOIN failure f ON f.id = t.failure"+placeTables+" WHERE "+of+
		" UNION ALL SELECT "+placeColumns+", f.title, f.title, f.severity, t.runs, t.known FROM tally_finding t JOIN finding f ON f.id = t.finding"+placeTables+" WHERE "+of, func(rows *sql.Rows) (c Count, err error) {
		return c, rows.Scan(append(place(&c.Kernel, &c.Cell, &c.Host), &c.Signature, &c.Title, &c.Severity, &c.Runs, &c.Known)...)
	})
}

// SeenBefore says which failures and findings of kernels still others, but for those
// named, had in the same cell, in runs that began earlier than a time.
func (s *Store) SeenBefore(ctx context.Context, kernels, but []int64, than time.Time) ([]Before, error) {
	of, not := among("kernel", kernels), " NOT "+among("t.kernel", append(slices.Clone(kernels), but...))
	one := func(table, refers, name string, finding int) string {
		return fmt.Sprintf(`SELECT t.cell, f.%[3]s, %[4]d, sum(t.runs), max(min(t.last, ?1)), k.release FROM %[1]s t JOIN %[2]s f ON f.id = t.%[2]s JOIN kernel k ON k.id = t.kernel
WHERE t.%[2]s IN (SELECT %[2]s FROM %[1]s WHERE %[5]s) AND %[6]s AND t.first < ?1 GROUP BY 1, 2`, table, refers, name, finding, of, not)
	}
	return list(ctx, s, one("tally_failure", "failure", "signature", 0)+" UNION ALL "+one("tally_finding", "finding", "title", 1), func(rows *sql.Rows) (b Before, err error) {
		return b, rows.Scan(&b.Cell, &b.Signature, &b.Finding, &b.Runs, nanosTo{&b.Last}, &b.Release)
	}, nanos(than))
}

// StageTimes are the stages that the runs of kernels reached, the latest runs first.
func (s *Store) StageTimes(ctx context.Context, kernels ...int64) ([]StageTime, error) {
	return s.stageTimes(ctx, among("t.kernel", kernels), -1)
}

// CellTimes are the stages that the last runs of a cell reached, the latest runs first.
func (s *Store) CellTimes(ctx context.Context, cell int64, runs int) ([]StageTime, error) {
	return s.stageTimes(ctx, among("t.cell", []int64{cell}), runs)
}

func (s *Store) stageTimes(ctx context.Context, which string, limit int) ([]StageTime, error) {
	return list(ctx, s, "SELECT t.id, "+placeColumns+", s.stage, s.at FROM (SELECT * FROM run t WHERE "+which+" ORDER BY started DESC LIMIT ?) t"+placeTables+
		" JOIN run_stage s ON s.run = t.id ORDER BY t.started DESC, s.at", func(rows *sql.Rows) (x StageTime, err error) {
		return x, rows.Scan(append(append([]any{&x.Run}, place(&x.Kernel, &x.Cell, &x.Host)...), &x.Stage, &x.At)...)
	}, limit)
}

// InitcallTimes are the initcalls of the last runs of kernels that tell them, the latest
// runs first.
func (s *Store) InitcallTimes(ctx context.Context, runs int, kernels ...int64) ([]InitcallTime, error) {
	var kernel int64
	return list(ctx, s, "SELECT t.id, "+placeColumns+", i.name, i.took FROM (SELECT * FROM run t WHERE "+among("t.kernel", kernels)+
		" AND EXISTS (SELECT 1 FROM run_initcall i WHERE i.run = t.id) ORDER BY started DESC LIMIT ?) t"+placeTables+
		" JOIN run_initcall i ON i.run = t.id ORDER BY t.started DESC, i.name", func(rows *sql.Rows) (x InitcallTime, err error) {
		return x, rows.Scan(append(append([]any{&x.Run}, place(&kernel, &x.Cell, &x.Host)...), &x.Name, &x.Took)...)
	}, runs)
}
