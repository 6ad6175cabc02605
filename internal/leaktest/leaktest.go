// Package leaktest ends a test binary with an error when something that its tests made is still there: a goroutine, a
// descriptor, a process, a file below the directory for temporary files.
//
//	func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
//
// Descriptors and processes are read from /proc, so they are looked at on Linux only; there, a process whose parent
// has died is counted too.
package leaktest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settle bounds how long a goroutine, a descriptor or a child may take to go after the last test, on a machine with a
// tenth of the speed, too.
const settle = time.Minute

// Run runs the tests and returns the exit code for os.Exit: that of the tests, or 1 when they passed and left
// something behind, which is then described on standard error.
func Run(m *testing.M) int {
	heedSignals()
	temp, err := os.MkdirTemp("", "leaktest")
	if err == nil {
		err = errors.Join(os.Chmod(temp, 0o711), os.Setenv("TMPDIR", temp), adoptOrphans()) // tests as another user enter too
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	defer os.RemoveAll(temp)
	before := descriptors()
	code := m.Run()
	if code != 0 || fuzzing() {
		return code
	}
	left := leftover(before, temp)
	for end := time.Now().Add(settle); len(left) > 0 && time.Now().Before(end); left = leftover(before, temp) {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) == 0 {
		return 0
	}
	fmt.Fprintf(os.Stderr, "leaktest: %d left over after the tests:\n%s\n", len(left), strings.Join(left, "\n"))
	return 1
}

// heedSignals makes the processes of the tests heed the signals that a shell lets its background processes ignore, and nohup:
// what is ignored is inherited, and what is caught is not.
func heedSignals() {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// fuzzing tells whether this is go test -fuzz, which has processes and pipes of its own until its end.
func fuzzing() bool {
	pattern := flag.Lookup("test.fuzz")
	return pattern != nil && pattern.Value.String() != ""
}

func leftover(before map[string]string, temp string) []string {
	reapOrphans()
	return slices.Concat(goroutines(), newDescriptors(before), children(), files(temp))
}

func files(dir string) (left []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	for _, entry := range entries {
		left = append(left, "file "+filepath.Join(dir, entry.Name()))
	}
	return left
}

// goroutines returns the stacks of all goroutines but our own and those of the runtime and the testing package.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	return slices.DeleteFunc(stacks[1:], func(stack string) bool {
		// The first call of signal.Notify starts one goroutine for the process, which never ends.
		return strings.Contains(stack, "os/signal.loop") || strings.Contains(stack, "testing.(*M).startAlarm") ||
			strings.Contains(stack, "runtime.ensureSigM")
	})
}

// descriptors maps the number of each open descriptor to what it refers to.
func descriptors() map[string]string {
	open := make(map[string]string)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return open // no /proc here
	}
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			open[entry.Name()] = target
		}
	}
	return open
}

func newDescriptors(before map[string]string) (left []string) {
	for fd, target := range descriptors() {
		// The runtime opens an epoll instance and its eventfd with the first socket, the os package a pidfd probe,
		// and keeps them.
		if before[fd] == target || strings.HasPrefix(target, "anon_inode:[event") {
			continue
		}
		left = append(left, fmt.Sprintf("descriptor %s: %s", fd, target))
	}
	return left
}

func children() (left []string) {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil
	}
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for pid := range strings.FieldsSeq(string(pids)) {
			if name, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
				arguments, _ := os.ReadFile("/proc/" + pid + "/cmdline") // empty: it has ended
				left = append(left, fmt.Sprintf("child process %s: %s: %q", pid, strings.TrimSpace(string(name)), arguments))
			}
		}
	}
	return left
}
