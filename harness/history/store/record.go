package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// Record adds runs, in one transaction, and returns how many were not there yet. Of one
// that was, only the directory is taken over: it may have been moved.
func (s *Store) Record(ctx context.Context, runs ...*result.Result) (added int, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		w, err := newWriter(ctx, tx)
		if err != nil {
			return err
		}
		for _, r := range runs {
			fresh, err := w.run(r)
			if err != nil {
				return err
			}
			if fresh {
				added++
			}
		}
		return nil
	})
	if err != nil {
		return 0, s.trouble("write", err)
	}
	return added, nil
}

// Prune forgets runs that began before a time, and what only they knew. It returns how
// many these were. Their directories stay.
func (s *Store) Prune(ctx context.Context, before time.Time) (n int64, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		const old = "SELECT id FROM run WHERE started < ?"
		for _, table := range []string{"run_finding", "run_stage", "run_initcall"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE run IN ("+old+")", before.UnixNano()); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM run WHERE started < ?", before.UnixNano())
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, recount)
		return err
	})
	if err != nil {
		return 0, s.trouble("prune", err)
	}
	return n, nil
}

// recount makes the tallies, and what the runs refer to, anew.
const recount = `
DELETE FROM tally; DELETE FROM tally_failure; DELETE FROM tally_finding;
INSERT INTO tally SELECT kernel, cell, host, count(*), count(failure), min(started), max(started) FROM run GROUP BY 1, 2, 3;
INSERT INTO tally_failure SELECT kernel, cell, host, failure, count(*), sum(known), min(started), max(started) FROM run WHERE failure IS NOT NULL GROUP BY 1, 2, 3, 4;
INSERT INTO tally_finding SELECT r.kernel, r.cell, r.host, f.finding, count(*), sum(f.known), min(r.started), max(r.started) FROM run_finding f JOIN run r ON r.id = f.run GROUP BY 1, 2, 3, 4;
DELETE FROM kernel WHERE id NOT IN (SELECT kernel FROM tally);
DELETE FROM cell WHERE id NOT IN (SELECT cell FROM tally);
DELETE FROM host WHERE id NOT IN (SELECT host FROM tally);
DELETE FROM failure WHERE id NOT IN (SELECT failure FROM tally_failure);
DELETE FROM finding WHERE id NOT IN (SELECT finding FROM tally_finding);
UPDATE kernel SET first = (SELECT min(first) FROM tally t WHERE t.kernel = kernel.id), last = (SELECT max(last) FROM tally t WHERE t.kernel = kernel.id);
`

// The statements of a writer. A fact that is there already is found by the same
// statement that adds it.
const (
	sqlKernel = `INSERT INTO kernel (release, build_id, sha256, fault, origin, first, last) VALUES (?, ?, ?, ?, ?, ?6, ?6)
ON CONFLICT DO UPDATE SET first = min(first, excluded.first), origin = iif(excluded.last >= last, excluded.origin, origin), last = max(last, excluded.last) RETURNING id`
	sqlCell = `INSERT INTO cell (name, variant, scenario, arch, entropy, initramfs) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET name = name RETURNING id`
	sqlHost    = `INSERT INTO host (class, accel, qemu) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET class = class RETURNING id`
	sqlFailure = `INSERT INTO failure (signature, title, cause) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET title = excluded.title RETURNING id`
	sqlFinding = `INSERT INTO finding (title, kind, severity) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET title = title RETURNING id`
	sqlRun     = `INSERT OR IGNORE INTO run (key, kernel, cell, host, failure, known, started, verdict, outcome, unclean, stage, dir)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`
	sqlMoved       = `UPDATE run SET dir = ? WHERE key = ?`
	sqlRunFinding  = `INSERT OR IGNORE INTO run_finding (run, finding, known) VALUES (?, ?, ?)`
	sqlRunStage    = `INSERT OR IGNORE INTO run_stage (run, stage, at) VALUES (?, ?, ?)`
	sqlRunInitcall = `INSERT INTO run_initcall (run, name, took) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET took = took + excluded.took`
	sqlTally       = `INSERT INTO tally VALUES (?, ?, ?, 1, ?, ?5, ?5)
ON CONFLICT DO UPDATE SET runs = runs + 1, failed = failed + excluded.failed, first = min(first, excluded.first), last = max(last, excluded.last)`
	sqlTallyFailure = `INSERT INTO tally_failure VALUES (?, ?, ?, ?, 1, ?, ?6, ?6)
ON CONFLICT DO UPDATE SET runs = runs + 1, known = known + excluded.known, first = min(first, excluded.first), last = max(last, excluded.last)`
	sqlTallyFinding = `INSERT INTO tally_finding VALUES (?, ?, ?, ?, 1, ?, ?6, ?6)
ON CONFLICT DO UPDATE SET runs = runs + 1, known = known + excluded.known, first = min(first, excluded.first), last = max(last, excluded.last)`
)

// writer adds runs in a transaction.
type writer struct {
	ctx   context.Context
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
}

func newWriter(ctx context.Context, tx *sql.Tx) (*writer, error) {
	w := &writer{ctx, tx, map[string]*sql.Stmt{}}
	for _, q := range []string{sqlKernel, sqlCell, sqlHost, sqlFailure, sqlFinding, sqlRun, sqlMoved, sqlRunFinding, sqlRunStage, sqlRunInitcall, sqlTally, sqlTallyFailure, sqlTallyFinding} {
		st, err := tx.PrepareContext(ctx, q) // the transaction closes it
		if err != nil {
			return nil, err
		}
		w.stmts[q] = st
	}
	return w, nil
}

func (w *writer) exec(q string, args ...any) error {
	_, err := w.stmts[q].ExecContext(w.ctx, args...)
	return err
}

func (w *writer) id(q string, args ...any) (id int64, err error) {
	err = w.stmts[q].QueryRowContext(w.ctx, args...).Scan(&id)
	return id, err
}

// run adds one run, and says whether it was not there yet.
func (w *writer) run(r *result.Result) (fresh bool, err error) {
	key, started := keyOf(r), nanos(r.Times.Started)
	res, err := w.stmts[sqlMoved].ExecContext(w.ctx, r.Dir, key)
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); n > 0 || err != nil {
		return false, err
	}
	release, buildID := kernelOf(r)
	kernel, err := w.id(sqlKernel, release, buildID, safe(r.Kernel.SHA256), safe(r.Kernel.Fault), safe(r.Kernel.Origin), started)
	if err != nil {
		return false, err
	}
	sc := r.Scenario
	cell, err := w.id(sqlCell, safe(sc.Name), Variant(sc), safe(family(sc.Name)), safe(string(sc.Arch)), safe(string(sc.Entropy)), safe(string(sc.Initramfs)))
	if err != nil {
		return false, err
	}
	host, err := w.id(sqlHost, safe(r.Host.Class), safe(string(r.Host.Accel)), safe(r.Host.QEMUVersion))
	if err != nil {
		return false, err
	}
	var failure *int64
	failed, known := failureOf(r)
	if failed != nil {
		id, err := w.id(sqlFailure, failed.Signature, failed.Title, failed.Cause)
		if err != nil {
			return false, err
		}
		failure = &id
	}
	id, err := w.id(sqlRun, key, kernel, cell, host, failure, known, started, int64(r.Times.Verdict), safe(string(r.Outcome)), r.Unclean, safe(string(r.Stage)), r.Dir)
	if err != nil {
		return false, err
	}
	if err := w.exec(sqlTally, kernel, cell, host, failure != nil, started); err != nil {
		return false, err
	}
	if failure != nil {
		if err := w.exec(sqlTallyFailure, kernel, cell, host, *failure, known, started); err != nil {
			return false, err
		}
	}
	return true, w.details(r, id, kernel, cell, host, started)
}

// details adds a run's findings and stages.
func (w *writer) details(r *result.Result, run, kernel, cell, host, started int64) error {
	seen := map[string]bool{}
	for _, f := range r.Findings {
		title := safe(f.Title)
		if f.Severity.Rank() <= result.Note.Rank() || seen[title] {
			continue
		}
		seen[title] = true
		id, err := w.id(sqlFinding, title, safe(string(f.Kind)), safe(string(f.Severity)))
		if err != nil {
			return err
		}
		if err := w.exec(sqlRunFinding, run, id, f.Known != nil); err != nil {
			return err
		}
		if err := w.exec(sqlTallyFinding, kernel, cell, host, id, f.Known != nil, started); err != nil {
			return err
		}
	}
	for _, rep := range r.Reports {
		if rep.Uptime <= 0 {
			continue
		}
		if err := w.exec(sqlRunStage, run, safe(string(rep.Stage)), rep.Uptime); err != nil {
			return err
		}
	}
	for _, i := range r.Initcalls {
		if err := w.exec(sqlRunInitcall, run, safe(i.Name), i.Took.Seconds()); err != nil {
			return err
		}
	}
	return nil
}

// maxText bounds each text of a run that is kept, in characters.
const maxText = 300

func safe(s string) string { return console.SanitizeMax(s, maxText) }

// nanos are a time as the tables hold it; 0 is none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// keyOf is the same for the same run, wherever its directory is.
func keyOf(r *result.Result) string {
	where := ""
	if r.Times.Started.IsZero() {
		where = r.Dir
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s %s %s", nanos(r.Times.Started), r.Times.Wall, r.Scenario.Name, r.Kernel.SHA256, where))
	return hex.EncodeToString(sum[:16])
}

// kernelOf is the kernel that was to boot; of a disk's own that which the guest told.
func kernelOf(r *result.Result) (release, buildID string) {
	release, buildID = r.Kernel.Release, r.Kernel.BuildID
	if k := r.Kernel.Running; release == "" && k != nil {
		release, buildID = k.Release, k.BuildID
	}
	return safe(release), safe(buildID)
}

// Variant tells scenarios of the same name apart that differ in what they boot: another
// command line, more memory. The same scenario has the same variant each time.
func Variant(sc scenarios.Scenario) string {
	sc.Name, sc.Description, sc.Deadline = "", "", 0
	b, err := json.Marshal(sc)
	if err != nil {
		b = []byte(err.Error()) // a Scenario has nothing that JSON cannot hold
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

// family is the scenario's own name, without its cell's.
func family(name string) string {
	for i := range name {
		if name[i] == '/' {
			return name[:i]
		}
	}
	return name
}

// Failure is what failed a run.
type Failure struct {
	// Signature identifies it, the same on each architecture and in each build.
	Signature string `json:"signature"`
	// Title is one line on it.
	Title string `json:"title"`
	// Cause is the diagnosis's.
	Cause string `json:"cause"`
}

// failureOf is what failed the run; nil where it ended as its scenario asks.
func failureOf(r *result.Result) (f *Failure, known bool) {
	if r.Expected {
		return nil, false
	}
	f = &Failure{Title: safe(string(r.Outcome)), Cause: string(result.CauseUnknown)}
	if d := r.Diagnosis; d != nil {
		f = &Failure{Signature: safe(d.Signature), Title: safe(d.Title), Cause: safe(string(d.Cause))}
	} else if w := result.Worst(r.Findings); w != nil {
		f = &Failure{Signature: safe("booted/" + w.Title), Title: safe(w.Title), Cause: string(result.CauseReport)}
	}
	f.Signature = cmp.Or(f.Signature, safe(string(r.Outcome)+"/"+f.Title))
	return f, r.KnownFailure != nil
}
