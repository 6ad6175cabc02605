// Package sdnotify reports the state of the service to the service manager that started this process, such as systemd, by the
// protocol of sd_notify(3): one datagram to a Unix socket for each message.
//
// Without a service manager every method does nothing and returns nil. The errors are for a log: a service works without
// its manager. A message waits at most a second for room in the manager's queue.
//
//	notifier, err := sdnotify.New()
//	if err != nil {
//		logger.Warn("...", "error", err) // the notifier works as far as it can
//	}
//	defer notifier.Close()
//	err = notifier.Ready("4 nodes serve :8080")
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/internal/errline"
)

// timeout bounds a message to the service manager, and how long Close waits for the watchdog's call of alive.
const timeout = time.Second

// Notifier sends messages to the service manager. All methods may be called at the same time.
type Notifier struct {
	address  string        // of the manager's socket; "" without one
	interval time.Duration // of the watchdog, in which the manager expects a keep-alive; 0: there is no watchdog
	write    func(message string) error

	mu      sync.Mutex
	stop    chan struct{} // ends the watchdog; guarded by mu; nil while there is none
	stopped chan struct{} // closed when the watchdog has ended; guarded by mu
	closed  bool          // guarded by mu
}

// New returns a notifier for the service manager that the environment names. It unsets the variables, so that the processes
// that this one starts do not speak for it. The error is about a variable that makes no sense; the notifier is never nil and
// works as far as it can.
func New() (*Notifier, error) { return newNotifier(takeVariable) }

// newNotifier is New with take, which returns a variable of the environment and unsets it.
func newNotifier(take func(name string) string) (*Notifier, error) {
	n := &Notifier{address: take("NOTIFY_SOCKET")}
	n.write = n.send
	interval, err := watchdogInterval(take("WATCHDOG_USEC"), take("WATCHDOG_PID"))
	n.interval = interval
	switch {
	case n.address == "" || strings.HasPrefix(n.address, "/") || strings.HasPrefix(n.address, "@"):
		return n, err
	}
	err = errline.Join(fmt.Errorf("variable NOTIFY_SOCKET is %q: %w", n.address, errors.ErrUnsupported), err)
	n.address = ""
	return n, err
}

// takeVariable returns an environment variable and unsets it.
func takeVariable(name string) string {
	value := os.Getenv(name)
	_ = os.Unsetenv(name) // of a valid name: it cannot fail
	return value
}

// watchdogInterval reads the variables of sd_watchdog_enabled(3): microseconds, and the process that they are meant for.
func watchdogInterval(usec, pid string) (time.Duration, error) {
	if usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	interval := time.Duration(n) * time.Microsecond
	if err == nil && (n <= 0 || interval/time.Microsecond != time.Duration(n)) {
		err = strconv.ErrRange
	}
	if err != nil {
		return 0, fmt.Errorf("variable WATCHDOG_USEC is %q: %w", usec, err)
	}
	return interval, nil
}

// HasManager reports whether there is a service manager to notify.
func (n *Notifier) HasManager() bool { return n.address != "" }

// Environ returns the variables for a process that is to take over from this one.
func (n *Notifier) Environ() (variables []string) {
	if n.address != "" {
		variables = append(variables, "NOTIFY_SOCKET="+n.address)
	}
	if n.interval > 0 {
		variables = append(variables, "WATCHDOG_USEC="+strconv.FormatInt(n.interval.Microseconds(), 10))
	}
	return variables
}

// Ready says that the service has started or has reloaded, with its state in words.
func (n *Notifier) Ready(status string) error { return n.notify("READY=1", statusLine(status)) }

// Reloading says that a reload has begun, which Ready ends.
func (n *Notifier) Reloading() error {
	message := []string{"RELOADING=1"}
	if now := monotonic.Now(); now > 0 {
		message = append(message, "MONOTONIC_USEC="+strconv.FormatInt(now.Microseconds(), 10))
	}
	return n.notify(message...)
}

// Stopping says that the service has begun to stop.
func (n *Notifier) Stopping() error { return n.notify("STOPPING=1") }

// Status sends a status line for people.
func (n *Notifier) Status(text string) error { return n.notify(statusLine(text)) }

// MainPID says that from now on process pid is the service's main process. The unit needs NotifyAccess=main if this process
// is the main one, and else NotifyAccess=all. The message is a keep-alive, too: the first one of the other process may arrive
// half of its interval later.
func (n *Notifier) MainPID(pid int) error {
	message := []string{"MAINPID=" + strconv.Itoa(pid)}
	if n.interval > 0 {
		message = append(message, "WATCHDOG=1")
	}
	return n.notify(message...)
}

// StartWatchdog sends the manager a keep-alive at once and then at half of the watchdog's interval, as long as alive returns
// true. If there is no watchdog, nothing is started. failed gets the errors of sending. One goroutine, which Close ends, calls
// both functions; alive must return within a second. Call StartWatchdog at most once; after Close it does nothing.
func (n *Notifier) StartWatchdog(alive func() bool, failed func(error)) {
	if n.address == "" || n.interval == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.stop, n.stopped = make(chan struct{}), make(chan struct{})
	go n.watch(n.stop, n.stopped, alive, failed)
}

// watch is a goroutine that Close ends and waits for.
func (n *Notifier) watch(stop <-chan struct{}, stopped chan<- struct{}, alive func() bool, failed func(error)) {
	defer close(stopped)
	ticker := time.NewTicker(n.interval / 2)
	defer ticker.Stop()
	for {
		if alive() {
			if err := n.notify("WATCHDOG=1"); err != nil {
				failed(err)
			}
		}
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
}

// Close ends the watchdog, and waits for its goroutine, at most for a second: a call of alive that does not return is left
// behind. A second call does nothing. Messages can still be sent.
func (n *Notifier) Close() {
	n.mu.Lock()
	stop, stopped := n.stop, n.stopped
	n.stop, n.closed = nil, true
	n.mu.Unlock()
	if stop == nil {
		return
	}
	close(stop)
	select {
	case <-stopped:
	case <-time.After(timeout):
	}
}

// statusLine makes one line of text: a second line would be a variable of its own.
func statusLine(text string) string {
	return "STATUS=" + strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(text)
}

func (n *Notifier) notify(lines ...string) error {
	if n.address == "" {
		return nil
	}
	if err := n.write(strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("notify the service manager of %s: %w", lines[0], err)
	}
	return nil
}

// send sends one datagram. It opens a socket for each, as sd_notify does, since the manager may have been started again.
func (n *Notifier) send(message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: n.address}) // "@": abstract
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil { // its queue may be full
		return errline.Join(err, conn.Close())
	}
	_, err = conn.Write([]byte(message))
	return errline.Join(err, conn.Close())
}
