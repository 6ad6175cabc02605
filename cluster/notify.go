package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
)

// notifyTimeout bounds a message to the service manager, and how long close waits for a question of the watchdog's.
const notifyTimeout = time.Second

// notifier tells the service manager that started this process, such as systemd, how it is: the protocol of
// sd_notify(3), which is one datagram to a Unix socket. Without a service manager it does nothing. Its errors are to be
// logged, and are no reason to end.
type notifier struct {
	address  string        // of the manager's socket; "" without one
	interval time.Duration // in which the manager wants a sign of life; 0: it wants none
	write    func(message string) error

	stop, stopped chan struct{} // of the watchdog; nil while there is none
}

// newNotifier finds out who is to be told, with take, which returns a variable of the environment and unsets it: the
// processes that this one starts are not to speak for it. Pass takeVariable. The error is about a variable that makes no
// sense, and the notifier works as far as it can.
func newNotifier(take func(name string) string) (*notifier, error) {
	n := &notifier{address: take("NOTIFY_SOCKET")}
	n.write = n.send
	interval, err := watchdogInterval(take("WATCHDOG_USEC"), take("WATCHDOG_PID"))
	n.interval = interval
	switch {
	case n.address == "" || strings.HasPrefix(n.address, "/") || strings.HasPrefix(n.address, "@"):
		return n, err
	}
	err = join(fmt.Errorf("variable NOTIFY_SOCKET is %q: %w", n.address, errors.ErrUnsupported), err)
	n.address = ""
	return n, err
}

// takeVariable returns an environment variable and unsets it.
func takeVariable(name string) string {
	value := os.Getenv(name)
	_ = os.Unsetenv(name) // of a valid name: it cannot fail
	return value
}

// watchdogInterval reads what sd_watchdog_enabled(3) does: microseconds, and the process that they are meant for.
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

// environ returns the variables for a process that takes this one's place.
func (n *notifier) environ() (variables []string) {
	if n.address != "" {
		variables = append(variables, "NOTIFY_SOCKET="+n.address)
	}
	if n.interval > 0 {
		variables = append(variables, "WATCHDOG_USEC="+strconv.FormatInt(n.interval.Microseconds(), 10))
	}
	return variables
}

// ready says that the service has started or has reloaded, and how it is in words.
func (n *notifier) ready(status string) error { return n.notify("READY=1", statusLine(status)) }

// reloading says that a reload has begun, which ready ends.
func (n *notifier) reloading() error {
	message := []string{"RELOADING=1"}
	if now := monotonic.Now(); now > 0 {
		message = append(message, "MONOTONIC_USEC="+strconv.FormatInt(now.Microseconds(), 10))
	}
	return n.notify(message...)
}

// stopping says that the service has begun to stop.
func (n *notifier) stopping() error { return n.notify("STOPPING=1") }

// status says in words how the service is, for a person to read.
func (n *notifier) status(text string) error { return n.notify(statusLine(text)) }

// mainPID says that from now on another process is the service's main process. The unit needs NotifyAccess=main if
// this process is the main one, and else NotifyAccess=all. It is a sign of life, too: that of the other process may come
// half of its interval later.
func (n *notifier) mainPID(pid int) error {
	message := []string{"MAINPID=" + strconv.Itoa(pid)}
	if n.interval > 0 {
		message = append(message, "WATCHDOG=1")
	}
	return n.notify(message...)
}

// startWatchdog gives the manager a sign of life in half of the time in which it wants one, for as long as alive
// returns true. Where it wants none, nothing is started. failed is told of signs that could not be given. Both are
// called by one goroutine, which close ends; alive is to return within a second. Call it once.
func (n *notifier) startWatchdog(alive func() bool, failed func(error)) {
	if n.address == "" || n.interval == 0 {
		return
	}
	n.stop, n.stopped = make(chan struct{}), make(chan struct{})
	go n.watch(n.stop, n.stopped, alive, failed)
}

// watch is a goroutine that close ends and waits for.
func (n *notifier) watch(stop <-chan struct{}, stopped chan<- struct{}, alive func() bool, failed func(error)) {
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

// close ends the watchdog; one whose alive does not return is left behind.
func (n *notifier) close() {
	if n.stop == nil {
		return
	}
	close(n.stop)
	n.stop = nil
	select {
	case <-n.stopped:
	case <-time.After(notifyTimeout):
	}
}

// statusLine makes one line of text: a second would be a variable of its own.
func statusLine(text string) string {
	return "STATUS=" + strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(text)
}

func (n *notifier) notify(lines ...string) error {
	if n.address == "" {
		return nil
	}
	if err := n.write(strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("notify the service manager of %s: %w", lines[0], err)
	}
	return nil
}

// send sends one datagram. It opens a socket for each, as sd_notify does, since the manager may have been started again.
func (n *notifier) send(message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: n.address}) // "@": abstract
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil { // its queue may be full
		return join(err, conn.Close())
	}
	_, err = conn.Write([]byte(message))
	return join(err, conn.Close())
}
