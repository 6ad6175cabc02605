package ways

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spins is how often the loop goes round between two looks at the clock: about half a microsecond.
const spins = 500

// burn uses CPU time of the thread. The goroutine stays on it: the clock is the thread's.
func burn(d time.Duration) {
	if d <= 0 {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var x uint32
	for end := threadTime() + d; threadTime() < end; {
		x = spin(x)
	}
	runtime.KeepAlive(x)
}

// spin is some steps of a linear congruential generator, each of which needs the one before it.
func spin(x uint32) uint32 {
	for range spins {
		x = x*1664525 + 1013904223
	}
	return x
}

// threadTime is the CPU time of this thread. It is a call of the kernel which does not wait, so Go's scheduler need not
// know.
func threadTime() time.Duration {
	var t unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano())
}
