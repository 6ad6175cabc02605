package master

import (
	"context"
	"errors"
	"fmt"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// ErrLeftBehind is the error of a stop of a cluster of another program after which something still listens on a port of the cluster.
var ErrLeftBehind = errors.New("the port is not free")

// leaveNothing ends the daemons that the program has left behind, when all its processes have ended. It returns an error that
// names the processes that still listen on a port of the cluster.
func (m *Master) leaveNothing(ctx context.Context) (err error) {
	if m.cfg.Program == nil {
		return nil
	}
	m.cfg.Program.EndOrphans(ctx)
	for _, o := range m.steering.LeftListeners() {
		left := fmt.Errorf("%w: %s still listens on %v: %s", ErrLeftBehind, o, o.Addr, endCommand(o))
		m.journal.Emit(control.Event{Kind: control.EventLeftBehind, ID: -1, PID: o.PID, Text: left.Error()})
		err = errline.Join(err, left)
	}
	return err
}

// endCommand says how to end a process.
func endCommand(o reuseport.Owner) string {
	if o.PID == 0 {
		return fmt.Sprintf("it is a process of uid %d", o.UID)
	}
	return fmt.Sprintf("kill %d", o.PID)
}
