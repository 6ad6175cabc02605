// Package descriptors says what to do when a process has too few file descriptors: the errno alone names no limit.
package descriptors

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Need returns an *Error that Is [syscall.EMFILE] if this process cannot open the given number of descriptors that what needs.
func Need(what string, more int) error {
	limit, ok := limit()
	if !ok {
		return nil
	}
	open := min(count(), limit)
	if open+more <= limit {
		return nil
	}
	return &Error{syscall.EMFILE, fmt.Sprintf("%s needs %d more file descriptors, and %d of the %d that this process may have (RLIMIT_NOFILE) are open: %s",
		what, more, open, limit, advice(open+more))}
}

// advice says how to raise the limit to at least n. Go raises the soft limit to the hard one when a program starts, so it is the hard one
// that is too low.
func advice(n int) string {
	const usual = 1024
	return fmt.Sprintf("raise the limit to %d or more, with \"ulimit -n %d\" in the shell that starts the program, LimitNOFILE= in a unit of systemd, "+
		"or --ulimit nofile= for a container", n, max(n, usual))
}

// Error is an error of the kernel because a limit for descriptors is reached, with the limit and what to do. It is temporary: a server tries
// again.
type Error struct {
	Err  error // with syscall.EMFILE or syscall.ENFILE below it
	text string
}

// Explain makes an *Error of an error that there are too few descriptors. It returns any other error as it is.
func Explain(err error) error {
	if _, known := errors.AsType[*Error](err); err == nil || known {
		return err
	}
	switch limit, ok := limit(); {
	case errors.Is(err, syscall.EMFILE) && ok:
		return &Error{err, fmt.Sprintf("all %d file descriptors that this process may have (RLIMIT_NOFILE) are open: %s", limit, advice(2*limit))}
	case errors.Is(err, syscall.ENFILE):
		return &Error{err, "all files that this machine may have open (sysctl fs.file-max) are"}
	default:
		return err
	}
}

// ExplainAccept is Explain for the error of an Accept, which stays a *net.OpError.
func ExplainAccept(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return err
	}
	explained, ok := errors.AsType[*Error](Explain(op.Err))
	if !ok {
		return err
	}
	told := *op
	told.Err = explained
	return &told
}

func (e *Error) Error() string { return e.text + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Temporary tells a server that it may try again, as [syscall.Errno.Temporary] does.
func (e *Error) Temporary() bool { return true }

// Timeout makes it a net.Error.
func (e *Error) Timeout() bool { return false }
