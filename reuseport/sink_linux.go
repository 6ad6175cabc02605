package reuseport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// A queue holds one connection more than its limit, so 0 would do; but before Linux 6.14 a listener with 0 takes
	// its first handshake for a flood (inet_csk_reqsk_queue_is_full), and drops it where SYN cookies are off.
	backlogBeforeFill = 1
	backlogOfSink     = 0

	// arrival bounds the time between connect's return and the ACK's arrival in the queue, on one host.
	arrival = time.Second
)

// setBacklog changes the limit of a queue: listen(2) on a socket that listens does nothing else (__inet_listen_sk).
func setBacklog(l syscall.Conn, backlog int) error {
	return control(l, func(fd int) error { return os.NewSyscallError("listen", unix.Listen(fd, backlog)) })
}

// awaitFull waits for a connection in the queue and leaves no room for another.
func awaitFull(ctx context.Context, l syscall.Conn) error {
	bounded, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	err := poll(bounded, func() (bool, error) {
		stats, err := queue(l)
		return stats.Length > backlogOfSink, err
	}, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return errors.New("another member has got the connection")
	})
	if err != nil {
		return err
	}
	if err := setBacklog(l, backlogOfSink); err != nil {
		return err
	}
	stats, err := queue(l)
	if err != nil {
		return err
	}
	if stats.Length <= stats.Limit {
		return fmt.Errorf("its queue is not full: %d connections and a limit of %d", stats.Length, stats.Limit)
	}
	return nil
}
