package main

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStoreOfAnotherProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "CREATE TABLE products (id INTEGER)")
	require.NoError(t, errors.Join(err, db.Close()))
	_, err = openStore(t.Context(), path)
	assert.ErrorContains(t, err, path+": the file is a database of another program")
}

// Many open a file that is not there, and one of them makes the products.
func TestStoreIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	const openers = 8
	opened := make(chan error, openers)
	for range openers {
		go func() { // ends when it has told, for which the test waits
			s, err := openStore(t.Context(), path)
			if err == nil {
				err = s.close()
			}
			opened <- err
		}()
	}
	for range openers {
		require.NoError(t, <-opened)
	}
	s, err := openStore(t.Context(), path)
	require.NoError(t, err)
	list, err := s.products(t.Context(), 0, 2*seedProducts)
	require.NoError(t, err)
	assert.Len(t, list, seedProducts)
	names := make(map[string]bool)
	for _, p := range list {
		names[p.Name] = true
	}
	assert.Len(t, names, seedProducts, "each name is there once")
	require.NoError(t, s.close())
	_, err = os.Stat(path + "-wal")
	assert.ErrorIs(t, err, os.ErrNotExist, "closed, it is one file")
}

func TestStorePut(t *testing.T) {
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "new.db"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.close()) }()
	changed, err := s.put(t.Context(), product{7, "Sieve", 1999, 1})
	require.NoError(t, err)
	assert.Equal(t, product{7, "Sieve", 1999, 2}, changed)
	current, err := s.put(t.Context(), product{7, "Kite", 5, 1})
	require.ErrorIs(t, err, errConflict)
	assert.Equal(t, changed, current)
	_, err = s.put(t.Context(), product{5000, "Kite", 5, 1})
	require.ErrorIs(t, err, errMissing)
}

func TestStoreIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	s, err := openStore(t.Context(), path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.close()) }()
	other, err := openStore(t.Context(), path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, other.close()) }()
	lock, err := other.writes.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = s.writes.ExecContext(t.Context(), "PRAGMA busy_timeout = 10") // of its one connection
	require.NoError(t, err)
	_, err = s.put(t.Context(), product{7, "Sieve", 1999, 1})
	require.ErrorIs(t, err, errBusy)
	require.NoError(t, lock.Rollback())
	_, err = s.put(t.Context(), product{7, "Sieve", 1999, 1})
	require.NoError(t, err)
}
