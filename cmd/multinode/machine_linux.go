package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/multinode-go/multinode/reuseport"
)

func systemChecks() []func(context.Context) check {
	return []func(context.Context) check{checkBacklog, checkWatches, checkBorrow}
}

// fileLimit returns the hard limit: Go raises the soft one to it.
func fileLimit() (uint64, bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return limit.Max, true
}

// longBacklog is the default of Linux since 5.4.
const longBacklog = 4096

func checkBacklog(context.Context) check {
	n, err := readNumber("/proc/sys/net/core/somaxconn")
	if err != nil {
		return check{verdict: poor, text: "How many connections can wait at a node is not known", why: err.Error()}
	}
	c := check{text: fmt.Sprintf("%d connections can wait at each node until it accepts them", n)}
	if n < longBacklog {
		c.verdict = poor
		c.why = "in a burst the kernel drops what is beyond that, and the client tries again after a second; more room:"
		c.commands = []string{"sysctl -w net.core.somaxconn=4096"}
	}
	return c
}

// fewWatches is how many inotify instances a cluster of some size needs: one for each node.
const fewWatches = 32

func checkWatches(context.Context) check {
	limit, err := readNumber("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return check{verdict: poor, text: "How many inotify instances this user can have is not known", why: err.Error()}
	}
	left := max(0, limit-inotifyInstances())
	c := check{text: fmt.Sprintf("%d of %d inotify instances of this user are left; each node takes one, to see others come and go",
		left, limit)}
	if left < fewWatches {
		c.verdict = poor
		c.why = "a node that gets none looks at its directory now and then instead, and sees others later; more of them:"
		c.commands = []string{"sysctl -w fs.inotify.max_user_instances=1024"}
	}
	return c
}

// inotifyInstances counts those of the processes of this user.
func inotifyInstances() (n int) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || target != "anon_inode:inotify" {
			continue // it is closed by now, or another's
		}
		if info, err := os.Stat(filepath.Dir(filepath.Dir(link))); err == nil && isOwn(info) {
			n++
		}
	}
	return n
}

// checkBorrow borrows a listener of this process, as run does from the programs that it starts. What a container keeps from
// its processes, it keeps from this one too.
func checkBorrow(ctx context.Context) check {
	if err := borrowOwn(ctx); err != nil {
		return check{
			verdict: poor, text: "multinode run cannot steer the listeners of other programs: " + err.Error(),
			why:      "a process of theirs that leaves loses what waits in its queue; in a container:",
			commands: []string{"# docker run --cap-add SYS_PTRACE"},
		}
	}
	return check{text: "multinode run can steer the listeners of other programs"}
}

func borrowOwn(ctx context.Context) error {
	l, err := reuseport.Listen(ctx, "tcp", "127.0.0.1:0", reuseport.Options{})
	if err != nil {
		return err
	}
	inode, err := reuseport.Inode(l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	borrowed, err := reuseport.Borrow(os.Getpid(), inode)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(borrowed.Close(), l.Close())
}

func readNumber(path string) (int, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
