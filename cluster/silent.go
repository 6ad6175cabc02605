package cluster

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/peer"
)

const (
	silentRounds = 3           // of joins that a master tries: another worker may hang meanwhile
	dumpTime     = time.Second // to write what its goroutines do, for a worker that is ended
)

// joinMaster links a master with all that live in the directory. A worker that does not answer hangs, or was stopped: its
// master would have ended it, and so does the next one, which could not take over otherwise.
func joinMaster(opts Options, mesh peer.Options) (l links, err error) {
	timeout := min(max(opts.LivenessTimeout, time.Second), masterJoinTimeout)
	for range silentRounds {
		l, err = joinLinks(opts, mesh, timeout)
		silent, ok := errors.AsType[*peer.SilentError](err)
		if !ok || !slices.ContainsFunc(silent.Nodes, func(info peer.Info) bool { return endSilent(opts, info) }) {
			return l, err
		}
		timeout = masterJoinTimeout
	}
	return l, err
}

// endSilent ends a worker that hangs, and returns whether it is gone. Guests of the mesh are not ours to end.
func endSilent(opts Options, info peer.Info) bool {
	if info.PID == 0 || !isWorkerProcess(info.PID) {
		return false
	}
	p, err := adoptProcess(info.PID)
	if err != nil {
		return false
	}
	opts.Logger.Warn("a worker of the master before does not answer: it gets SIGQUIT, to write what its goroutines do",
		"id", info.ID, "pid", info.PID)
	for _, sig := range []os.Signal{syscall.SIGQUIT, sigContinue} {
		_ = p.signal(sig) // it may be gone already
	}
	for range 2 {
		select {
		case <-p.exited:
			return true
		case <-time.After(dumpTime):
			_ = p.signal(os.Kill) // it may be gone already
		}
	}
	return false
}
