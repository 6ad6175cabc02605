package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// maxRunLog is the size, in bytes, at which the log of multinode run is rotated; the old log stays as log.1.
const maxRunLog = 16 << 20

// runLog is the file in the rendezvous directory in which multinode logs looks. What is written before open is kept.
type runLog struct {
	mu   sync.Mutex // guards all
	path string
	file *os.File
	size int64
	held []byte
}

// Write never fails: a disk that is full is not to keep the program from writing to the terminal.
func (l *runLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.file == nil && l.path == "":
		if len(l.held) < maxRunLog {
			l.held = append(l.held, b...)
		}
	case l.file != nil:
		l.writeLocked(b)
	}
	return len(b), nil
}

func (l *runLog) writeLocked(b []byte) {
	if l.size > maxRunLog {
		_ = l.file.Close() // what is in it is in it
		_ = os.Rename(l.path, l.path+".1")
		if l.openLocked() != nil {
			return
		}
	}
	n, _ := l.file.Write(b)
	l.size += int64(n)
}

// open begins the file.
func (l *runLog) open(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.path = filepath.Join(dir, logFile)
	if err := l.openLocked(); err != nil {
		return err
	}
	l.writeLocked(l.held)
	l.held = nil
	return nil
}

func (l *runLog) openLocked() (err error) {
	l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	l.size = 0
	return err
}

// close ends the log and removes it: with its cluster, the directory goes too.
func (l *runLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = errors.Join(l.file.Close(), os.Remove(l.path))
		_ = os.Remove(l.path + ".1") // it may not be there
		_ = os.Remove(filepath.Dir(l.path))
		l.file = nil
	}
}
