package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// pragmas: readers do not wait for a writer (WAL), writers wait for each other, and a transaction takes the lock when it
// begins, where that wait is possible.
const pragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate"

// applicationID is in the head of a file that is a catalogue, so that another database is not taken for one.
const applicationID = 0x6d6e6361

var (
	errMissing  = errors.New("there is no such product")
	errConflict = errors.New("the product has another version")
	errBusy     = errors.New("another process has the lock of the database")
)

// store is the database, a file that all nodes share. Its methods may be called at the same time.
type store struct {
	reads, writes *sql.DB // one connection writes: others of this process would only poll for the lock of the file
	get, list     *sql.Stmt
	insert        *sql.Stmt
	change        *sql.Stmt
}

// openTimeout bounds how long processes wait for each other that open a new file at the same time: its busy_timeout does not count
// where a file gets its write-ahead log.
const openTimeout = 10 * time.Second

// openStore opens the file, and makes it with its products if it is missing.
func openStore(ctx context.Context, path string) (*store, error) {
	s, err := tryOpenStore(ctx, path)
	for begin := time.Now(); isBusy(err) && time.Since(begin) < openTimeout && ctx.Err() == nil; {
		time.Sleep(10 * time.Millisecond)
		s, err = tryOpenStore(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	return s, nil
}

func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY // the rest tells more of it
}

func tryOpenStore(ctx context.Context, path string) (*store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := new(store)
	for _, db := range []**sql.DB{&s.writes, &s.reads} {
		if *db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+pragmas); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	s.writes.SetMaxOpenConns(1)
	readers := 2 * runtime.GOMAXPROCS(0)
	s.reads.SetMaxOpenConns(readers)
	s.reads.SetMaxIdleConns(readers)
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *store) prepare(ctx context.Context) error {
	if err := s.create(ctx); err != nil {
		return err
	}
	for _, one := range []struct {
		stmt **sql.Stmt
		db   *sql.DB
		text string
	}{
		{&s.get, s.reads, "SELECT id, name, price, version FROM products WHERE id = ?"},
		{&s.list, s.reads, "SELECT id, name, price, version FROM products WHERE id > ? ORDER BY id LIMIT ?"},
		{&s.insert, s.writes, "INSERT INTO products (id, name, price, version) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING"},
		{&s.change, s.writes, "UPDATE products SET name = ?, price = ?, version = version + 1 WHERE id = ? AND version = ?"},
	} {
		var err error
		if *one.stmt, err = one.db.PrepareContext(ctx, one.text); err != nil {
			return err
		}
	}
	return nil
}

// create makes the table and its products, once: the nodes start at the same time, and the first one has the lock.
func (s *store) create(ctx context.Context) error {
	if made, err := isMade(ctx, s.writes); made || err != nil {
		return err
	}
	tx, err := s.writes.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if made, err := isMade(ctx, tx); made || err != nil {
		return err
	}
	const table = "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL, version INTEGER NOT NULL) STRICT"
	for _, text := range []string{table, fmt.Sprintf("PRAGMA application_id = %d", applicationID)} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	if err := seed(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// isMade tells whether the file is a catalogue; it is an error when it is another database.
func isMade(ctx context.Context, db querier) (bool, error) {
	var id, tables int
	err := db.QueryRowContext(ctx, "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id").Scan(&id, &tables)
	switch {
	case err != nil:
		return false, err
	case id == applicationID:
		return true, nil
	case id != 0 || tables > 0:
		return false, errors.New("the file is a database of another program: choose another one with -db")
	}
	return false, nil
}

// product reads a product; the error Is errMissing when there is none.
func (s *store) product(ctx context.Context, id int64) (p product, err error) {
	err = s.get.QueryRowContext(ctx, id).Scan(&p.ID, &p.Name, &p.Price, &p.Version)
	if errors.Is(err, sql.ErrNoRows) {
		err = errMissing
	}
	return p, err
}

// products reads up to limit products whose ids are above after, in the order of their ids.
func (s *store) products(ctx context.Context, after int64, limit int) ([]product, error) {
	rows, err := s.list.QueryContext(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []product{} // in JSON, an empty list is not null
	for rows.Next() {
		var p product
		if err := rows.Scan(&p.ID, &p.Name, &p.Price, &p.Version); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// put makes the product if its version is 0, or changes the stored product of that version, and returns what is stored now.
// If another version is stored, it returns that and errConflict; if none is, errMissing. After an error nothing has changed,
// since each write is one statement, which SQLite carries out or not. The exception is the error of ctx, which the driver
// also returns for a write that was just done.
func (s *store) put(ctx context.Context, p product) (product, error) {
	var result sql.Result
	var err error
	if p.Version == 0 {
		result, err = s.insert.ExecContext(ctx, p.ID, p.Name, p.Price)
	} else {
		result, err = s.change.ExecContext(ctx, p.Name, p.Price, p.ID, p.Version)
	}
	if isBusy(err) {
		err = fmt.Errorf("%w: %w", errBusy, err)
	}
	if err != nil {
		return product{}, err
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return product{}, err
	}
	if rows == 1 {
		p.Version++
		return p, nil
	}
	current, err := s.product(ctx, p.ID)
	if err != nil {
		return product{}, err
	}
	return current, errConflict
}

func (s *store) close() (err error) {
	for _, db := range []*sql.DB{s.reads, s.writes} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}
