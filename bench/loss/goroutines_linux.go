package loss

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// goroutinesSignal makes a server write how many goroutines it has into a file of its own.
const goroutinesSignal = unix.SIGUSR1

func goroutinesFile(dir string, pid int) string {
	return filepath.Join(dir, fmt.Sprintf("goroutines.%d", pid))
}

// tellGoroutines is a goroutine that ends with the process.
func tellGoroutines(dir string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, goroutinesSignal)
	path := goroutinesFile(dir, os.Getpid())
	for range asked {
		_ = os.WriteFile(path+".new", []byte(strconv.Itoa(runtime.NumGoroutine())), 0o600) // who asks will miss it
		_ = os.Rename(path+".new", path)
	}
}

// goroutinesOf asks a server how many goroutines it has.
func goroutinesOf(dir string, pid int) (n int, err error) {
	path := goroutinesFile(dir, pid)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	if err := unix.Kill(pid, goroutinesSignal); err != nil {
		return 0, os.NewSyscallError("kill", err)
	}
	var content []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if content, err = os.ReadFile(path); err == nil {
			return strconv.Atoi(string(content))
		}
	}
	return 0, err
}
