package invalidate

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/peer"
)

const (
	// gate is the byte of the file that is locked by who opens or closes it; the ones before it are those of the rows.
	gate     = boardRows
	gateWait = time.Second
	gatePoll = time.Millisecond
)

// seat is the place of this process at a shared board: the file that the board is in, and the lock of one byte of it for the
// row. It is a lock of an open file description, see fcntl_locking(2), so the kernel takes it back when the process is dead.
type seat struct {
	file *os.File
	path string
}

// shareBoard opens the board of a cache in a directory, makes it if it is not there, and takes a row.
func shareBoard(dir, name string, entries int, self peer.Incarnation) (*board, error) {
	hash := sha256.Sum256([]byte(name)) // a name may have any bytes
	path := filepath.Join(dir, fmt.Sprintf("cache-%x.board%d", hash[:8], boardLayout))
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		s := &seat{file: file, path: path}
		b, err := s.take(entries, self)
		if err == nil {
			return b, nil
		}
		_ = file.Close()
		if !errors.Is(err, errRemoved) {
			return nil, err
		}
	}
}

// errRemoved is for a file that its last user has removed after it was opened.
var errRemoved = errors.New("it was removed")

// take takes a row.
func (s *seat) take(entries int, self peer.Incarnation) (*board, error) {
	if err := s.awaitGate(); err != nil {
		return nil, err
	}
	defer s.unlock(gate)
	if !s.inPlace() {
		return nil, errRemoved
	}
	b, err := s.open(entries)
	if err != nil {
		return nil, err
	}
	for b.row = range boardRows {
		if free, err := s.lock(b.row); err != nil {
			return nil, err
		} else if free {
			b.clear(b.row)
			b.words[wordRows+b.row].Store(uint64(self))
			b.seat = s
			return b, nil
		}
	}
	return nil, fmt.Errorf("%d processes have %s, and that is the most", boardRows, s.path)
}

// open maps the board, which is made before if need be. Its memory stays until nobody can use it: Get may, after close.
func (s *seat) open(entries int) (*board, error) {
	classes, err := s.format(entries)
	if err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(s.file.Fd()), 0, boardSize(classes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: s.path, Err: err}
	}
	b := boardOf(unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&memory[0])), len(memory)/wordSize), classes)
	runtime.AddCleanup(b, func(memory []byte) { _ = unix.Munmap(memory) }, memory)
	return b, nil
}

// format makes a board of a file that is none yet, and returns how many classes the board has. The file gets its memory
// now, lest there is none left when it is written to. What is written last says that it is complete.
func (s *seat) format(entries int) (classes uint64, err error) {
	header := make([]byte, 2*wordSize)
	magic, size := header[wordMagic*wordSize:][:wordSize], header[wordClasses*wordSize:]
	if _, err := s.file.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	switch binary.NativeEndian.Uint64(magic) {
	case boardMagic:
		classes = binary.NativeEndian.Uint64(size)
		return classes, s.check(classes)
	case 0:
		classes = classesFor(entries)
		content := make([]byte, boardSize(classes))
		binary.NativeEndian.PutUint64(content[wordClasses*wordSize:], classes)
		if _, err := s.file.WriteAt(content, 0); err != nil { // the disk is full, and not for this
			return 0, errors.Join(err, os.Remove(s.path))
		}
		binary.NativeEndian.PutUint64(magic, boardMagic)
		_, err := s.file.WriteAt(magic, wordMagic*wordSize)
		return classes, err
	default:
		return 0, fmt.Errorf("%s is not the board of a cache: rm %q", s.path, s.path)
	}
}

// check looks at a board that was there.
func (s *seat) check(classes uint64) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if classes < minClasses || classes > maxClasses || bits.OnesCount64(classes) != 1 || info.Size() != int64(boardSize(classes)) {
		return fmt.Errorf("%s has %d bytes for %d classes: rm %q", s.path, info.Size(), classes, s.path)
	}
	return nil
}

func boardSize(classes uint64) int { return int(wordVersion+classes) * wordSize }

// inPlace reports whether the path leads to the file.
func (s *seat) inPlace() bool {
	opened, err := s.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(s.path)
	return err == nil && os.SameFile(opened, named)
}

func (s *seat) awaitGate() error {
	for end := time.Now().Add(gateWait); ; time.Sleep(gatePoll) {
		if free, err := s.lock(gate); free || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("another process has been opening or closing %s for %v", s.path, gateWait)
		}
	}
}

// isTaken reports whether a process that lives has the row.
func (s *seat) isTaken(row int) bool { return s.isLocked(row, 1) }

// sweep clears a row if its process is dead.
func (s *seat) sweep(b *board, row int) bool {
	free, err := s.lock(row)
	if !free || err != nil {
		return false
	}
	defer s.unlock(row)
	b.clear(row)
	return true
}

// close gives the row back, and removes the file when nobody else has one. The memory keeps the file open, so its locks are
// not gone with the descriptor.
func (s *seat) close(row int) error {
	s.unlock(row)
	if s.awaitGate() == nil {
		if !s.isLocked(0, boardRows) && s.inPlace() {
			_ = os.Remove(s.path) // else it is used again
		}
		s.unlock(gate)
	}
	return s.file.Close()
}

// lock takes the lock of a byte. It returns false if another process has it.
func (s *seat) lock(at int) (free bool, err error) {
	_, err = s.control(unix.F_OFD_SETLK, unix.F_WRLCK, at, 1)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func (s *seat) unlock(at int) { _, _ = s.control(unix.F_OFD_SETLK, unix.F_UNLCK, at, 1) } // it is ours

// isLocked reports whether another process has one of so many bytes.
func (s *seat) isLocked(at, count int) bool {
	kind, err := s.control(unix.F_OFD_GETLK, unix.F_WRLCK, at, count)
	return err == nil && kind != unix.F_UNLCK
}

func (s *seat) control(command int, kind int16, at, count int) (was int16, err error) {
	lock := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: int64(at), Len: int64(count)}
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) { err = unix.FcntlFlock(fd, command, &lock) })
	if err != nil {
		err = &os.PathError{Op: "fcntl", Path: s.path, Err: err}
	}
	return lock.Type, errors.Join(controlErr, err)
}
