// Package store keeps what all runs showed, in one SQLite file: which kernel, in which
// cell, on what kind of host, how it ended. Several processes may use the file at once.
// It can be made again from the runs' result.json files, so losing it loses nothing that
// these still say.
package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/driver" // registers "sqlite3"

	"github.com/unwedge/unwedge/harness/rundir"
)

// Store is an open history. All its methods may be called from several goroutines.
type Store struct {
	db   *sql.DB
	path string
}

// ErrNone says that there is no history yet.
var ErrNone = errors.New("there is no history yet: boot something, or read runs with `unwedge history import DIR`")

// Path is where the history of this user is: history.db in rundir.Base.
func Path() (string, error) {
	base, err := rundir.Base()
	return filepath.Join(base, rundir.History), err
}

// Open opens the history at path to be written, and makes it where there is none.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	s, err := open(path, "mode=rwc")
	if err != nil {
		return nil, err
	}
	if err = s.writeAhead(ctx); err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		s.Close()
		return nil, s.trouble("open", err)
	}
	return s, nil
}

// Read opens the history at path to be read. One that cannot be written is read all the
// same. The error is ErrNone where there is none.
func Read(ctx context.Context, path string) (*Store, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, ErrNone
	}
	s, err := Open(ctx, path)
	if err == nil || !(errors.Is(err, sqlite3.READONLY) || errors.Is(err, sqlite3.CANTOPEN) || errors.Is(err, os.ErrPermission)) {
		return s, err
	}
	if s, err = open(path, "mode=ro&immutable=1"); err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		s.Close()
		return nil, s.trouble("open", err)
	}
	return s, nil
}

// busyMillis is how long one process waits for another that writes; a write takes
// milliseconds, an import's a second.
const busyMillis = 20_000

func open(path, how string) (*Store, error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: fmt.Sprintf("_pragma=busy_timeout(%d)&_pragma=synchronous(normal)&_txlock=immediate&%s", busyMillis, how)}
	db, err := sql.Open("sqlite3", u.String())
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", path, err)
	}
	return &Store{db, path}, nil
}

// writeAhead turns on the write-ahead log, with which readers and a writer do not wait
// for each other; the file stays so. SQLite does not wait for another process that does
// the same.
func (s *Store) writeAhead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, busyMillis*time.Millisecond)
	defer cancel()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for {
		var mode string
		err := s.db.QueryRowContext(ctx, "PRAGMA journal_mode = wal").Scan(&mode)
		if !errors.Is(err, sqlite3.BUSY) {
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return err
		}
	}
}

// Close closes it.
func (s *Store) Close() error { return s.db.Close() }

// trouble says what to do about an error of SQLite's.
func (s *Store) trouble(verb string, err error) error {
	next := ""
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.CORRUPT):
		next = ": move it away, and make it again with `unwedge history import`"
	case errors.Is(err, sqlite3.FULL), errors.Is(err, sqlite3.IOERR):
		next = ": is the disk full?"
	}
	return fmt.Errorf("%s history %s: %w%s", verb, s.path, err, next)
}

//go:embed schema.sql
var schema string

//go:embed initcalls.sql
var initcalls string

// migrations make each version of the tables from the one before; user_version is how
// many were done.
var migrations = []string{schema, initcalls}

// check reports whether this version of unwedge knows the file's tables.
func (s *Store) check(ctx context.Context) error {
	version, err := version(ctx, s.db)
	if err == nil && version != len(migrations) {
		err = fmt.Errorf("its tables are of version %d, this unwedge knows %d: use the unwedge that wrote it", version, len(migrations))
	}
	return err
}

// migrate brings the file's tables to this version. A later one is an error.
func (s *Store) migrate(ctx context.Context) error {
	have, err := version(ctx, s.db)
	if err != nil || have == len(migrations) {
		return err
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		have, err := version(ctx, tx) // another process may have been faster
		if err != nil {
			return err
		}
		if have > len(migrations) {
			return fmt.Errorf("its tables are of version %d, this unwedge knows %d: use a later unwedge", have, len(migrations))
		}
		for _, m := range migrations[have:] {
			if _, err := tx.ExecContext(ctx, m); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations)))
		return err
	})
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func version(ctx context.Context, q querier) (v int, err error) {
	err = q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
	return v, err
}

// change makes changes in one transaction: all of them or none.
func (s *Store) change(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // fails after the commit, as it should
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}
