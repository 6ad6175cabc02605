package versioned

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// memorySeals fix the size of a memory for ever, see fcntl(2). A process that has mapped a file dies by SIGBUS when the file is
// truncated.
const memorySeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// Create makes a memory with an empty table. Its pages are allocated now, as there may be none left at a later write.
func Create(name string, entries int) (*os.File, error) {
	classes := classesFor(entries)
	content := emptyTable(classes, minBase+rand.Uint64N(minBase))
	if err := checkFileLimit(uint64(len(content))); err != nil {
		return nil, err
	}
	file, err := memfd(name)
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteAt(content, 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := withDescriptor(file, func(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_ADD_SEALS, memorySeals) }); err != nil {
		return nil, errors.Join(fmt.Errorf("seal the memory: %w", err), file.Close())
	}
	return file, nil
}

// minBase is the smallest base of a shared table. The largest is less than twice as large: no counter overflows.
const minBase = 1 << 62

// emptyTable returns the content of a new table.
func emptyTable(classes, base uint64) []byte {
	content := make([]byte, tableSize(classes))
	put := func(word, n uint64) { binary.NativeEndian.PutUint64(content[word*wordSize:], n) }
	put(wordMagic, tableMagic)
	put(wordClasses, classes)
	put(wordBase, base)
	put(wordAll, base)
	put(wordTagged, base)
	for class := range classes {
		put(wordVersion+class, base)
	}
	return content
}

func memfd(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// checkFileLimit returns an error when no file may be that large: the kernel would send SIGXFSZ, which ends the process.
func checkFileLimit(size uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return os.NewSyscallError("getrlimit RLIMIT_FSIZE", err)
	}
	if limit.Cur < size {
		return fmt.Errorf("files can have %d bytes, and %d are needed: raise the limit (ulimit -f)", limit.Cur, size)
	}
	return nil
}

// Open takes a slot of the table in a memory, for the process self. commit is how long the marks of an ended process stay. Open
// fails where Check does, and when all slots are taken. The memory belongs to the table, and is closed if Open fails.
func Open(memory *os.File, self rendezvous.Incarnation, commit time.Duration) (*Table, error) {
	locks := &slotLocks{memory: memory}
	t, err := open(locks)
	if err == nil {
		t.commit = commit
		err = takeSlot(t, locks, self)
	}
	if err != nil {
		return nil, errors.Join(err, locks.close())
	}
	return t, nil
}

// open maps the table. The mapping stays as long as the table can be used: Get may use it after close.
func open(locks *slotLocks) (*Table, error) {
	classes, base, err := checkMemory(locks.memory)
	if err != nil {
		return nil, err
	}
	if locks.file, err = reopen(locks.memory); err != nil {
		return nil, err
	}
	var mapped []byte
	_, err = withDescriptor(locks.memory, func(fd uintptr) (n int, err error) {
		mapped, err = unix.Mmap(int(fd), 0, tableSize(classes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("map the memory: %w", err)
	}
	t := tableOf(unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mapped[0])), len(mapped)/wordSize), classes, base)
	runtime.AddCleanup(t, func(mapped []byte) { _ = unix.Munmap(mapped) }, mapped)
	return t, nil
}

// Check returns an error for a file that is not the sealed memory of a table. The file comes from another process.
func Check(memory *os.File) error {
	_, _, err := checkMemory(memory)
	return err
}

// checkMemory returns the size and the base of the table in a memory.
func checkMemory(memory *os.File) (classes, base uint64, err error) {
	seals, err := withDescriptor(memory, func(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_GET_SEALS, 0) })
	if err != nil || seals&memorySeals != memorySeals {
		return 0, 0, errors.New("it is not sealed: its size could change")
	}
	info, err := memory.Stat()
	if err != nil {
		return 0, 0, err
	}
	header := make([]byte, (wordBase+1)*wordSize)
	if _, err := memory.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(header[i*wordSize:]) }
	if word(wordMagic) != tableMagic || word(wordBase) < minBase {
		return 0, 0, errors.New("it is not the memory of a cache")
	}
	classes = word(wordClasses)
	if classes < minClasses || classes > maxClasses || bits.OnesCount64(classes) != 1 || info.Size() != int64(tableSize(classes)) {
		return 0, 0, fmt.Errorf("it has %d bytes for %d classes", info.Size(), classes)
	}
	return classes, word(wordBase), nil
}

func tableSize(classes uint64) int { return int(wordVersion+classes) * wordSize }

// reopen returns the same file by another open file description.
func reopen(file *os.File) (other *os.File, err error) {
	_, err = withDescriptor(file, func(fd uintptr) (n int, err error) {
		other, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
		return 0, err
	})
	return other, err
}

// takeSlot takes the lock of the first slot that is free.
func takeSlot(t *Table, locks *slotLocks, self rendezvous.Incarnation) error {
	for t.slot = range maxSlots {
		if free, err := locks.lock(t.slot); err != nil {
			return err
		} else if free {
			if t.isMarked(t.slot) && !t.isSettled(t.slot) { // of a process that has ended in an update
				locks.unlock(t.slot)
				continue
			}
			t.clear(t.slot)
			t.words[wordSlots+t.slot].Store(uint64(self))
			t.locks = locks
			return nil
		}
	}
	return fmt.Errorf("%d processes share the memory, and that is the most", maxSlots)
}
