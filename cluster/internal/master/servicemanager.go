package master

import (
	"log/slog"
	"os"
	"strconv"

	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/cluster/internal/pidfile"
	"github.com/multinode-go/multinode/cluster/internal/sdnotify"
)

// serviceManager informs the process that has started the master of its state: a service manager, or a script with a PID file.
type serviceManager struct {
	logger   *slog.Logger
	notifier *sdnotify.Notifier // nil until it is made
	file     string             // "": none
	unlink   func() error       // removes the file
}

// writePID leaves our process id in the file, where the processes before may have theirs.
func (m *serviceManager) writePID(before ...int) (err error) {
	if m.file != "" {
		m.unlink, err = pidfile.Write(m.file, before...)
	}
	return err
}

// tell logs err, if it is not nil, as a failed notification of the service manager.
func (m *serviceManager) tell(err error) {
	if err != nil {
		m.logger.Warn("the service manager cannot be notified", "error", err)
	}
}

// starter names what has started the master and depends on it; "" for a user at a terminal, and for what cannot be recognized.
func (m *serviceManager) starter() string {
	switch {
	case pid1.Init != nil:
		return "the container"
	case m.notifier.HasManager() || isSystemdService():
		return "the service manager"
	default:
		return ""
	}
}

// isSystemdService reports whether this is the main process of a unit of systemd: its descendants inherit the variables
// (systemd.exec(5)). Before systemd 248 only the parent shows it.
func isSystemdService() bool {
	if os.Getenv("INVOCATION_ID") == "" {
		return false
	}
	pid := os.Getenv("SYSTEMD_EXEC_PID")
	return pid == strconv.Itoa(os.Getpid()) || pid == "" && os.Getppid() == 1
}
