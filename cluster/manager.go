package cluster

import (
	"fmt"
	"os"
	"strconv"

	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/cluster/internal/pidfile"
)

// writePID leaves our process id in Options.PIDFile, where a predecessor, or one of before, may have its own.
func (m *master) writePID(before ...int) (err error) {
	if m.opts.PIDFile == "" {
		return nil
	}
	if m.predecessor != nil {
		before = append(before, m.predecessor.PID)
	}
	m.unlinkPID, err = pidfile.Write(m.opts.PIDFile, before...)
	return err
}

// announce tells those outside when the cluster is ready: the predecessor, the service manager. It is a goroutine that
// ends with the node.
func (m *master) announce(n *Node) {
	if !n.await(n.ownReadiness()) {
		return
	}
	m.steering.Ready(n.ID())
	if !n.await(n.readiness()) {
		return
	}
	pid1.Init.Ready() // before the predecessor ends
	if m.probation != nil {
		m.show()
		if !m.probation.finish(n.begun) {
			return
		}
		m.supervisor.Send(lifecycle.Release{})
	}
	m.tellManager(m.notifier.Ready(n.summary(n.accepting())))
	m.notifier.StartWatchdog(func() bool { _, ok := m.supervisor.State(); return ok }, m.tellManager)
}

// await waits for all of these events. It returns false if the node ends before.
func (n *Node) await(events []<-chan struct{}) bool {
	for _, event := range events {
		select {
		case <-event:
		case <-n.done:
			return false
		}
	}
	return true
}

// summary says in a line how the cluster is.
func (n *Node) summary(nodes int) string {
	return fmt.Sprintf("%d nodes serve %v, steered by %v", nodes, n.Addr(), n.master.steering.Level())
}

// tellManager logs that the service manager could not be told something, if err is not nil.
func (m *master) tellManager(err error) {
	if err != nil {
		m.opts.Logger.Warn("the service manager does not hear", "error", err)
	}
}

// warnOfCrash warns of a master that accepts connections where its end is the end of the service for whoever started it.
func (m *master) warnOfCrash(n *Node) {
	starter := m.starter()
	if starter == "" || !n.accepts.Load() || m.predecessor != nil {
		return
	}
	m.opts.Logger.Warn("the master accepts connections, and "+starter+" takes its end for that of the service: a crash loses its connections "+
		"and starts it again; with Options.DisableMasterListen it only supervises, and its crash loses nothing", "nodes", m.opts.Nodes)
}

// starter says what has started the master and depends on it; "" for a user at a terminal, and for what does not show itself.
func (m *master) starter() string {
	switch {
	case pid1.Init != nil:
		return "the container"
	case m.notifier.HasManager() || isSystemdService():
		return "the service manager"
	default:
		return ""
	}
}

// isSystemdService tells whether this is the main process of a unit of systemd: its descendants inherit the variables
// (systemd.exec(5)). Before systemd 248 only the parent tells.
func isSystemdService() bool {
	if os.Getenv("INVOCATION_ID") == "" {
		return false
	}
	pid := os.Getenv("SYSTEMD_EXEC_PID")
	return pid == strconv.Itoa(os.Getpid()) || pid == "" && os.Getppid() == 1
}
