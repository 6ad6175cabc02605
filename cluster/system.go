package cluster

import (
	"fmt"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/internal/descriptors"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

// system is all that a master needs of the operating system, so that its rules can be run without.
type system struct {
	balances func() error // nil where the kernel balances the connections of a shared port
	start    func(boot.Role) (*proc.Process, error)
	adopt    func(peer.Info) (*proc.Process, error) // a process that is not our child
}

func realSystem() system {
	return system{
		balances: reuseport.Supported, start: startSelf,
		adopt: func(info peer.Info) (*proc.Process, error) { return proc.Adopt(info.PID) },
	}
}

// startSelf starts this program again as the worker with role r. Its error names a limit that is too low.
func startSelf(r boot.Role) (*proc.Process, error) {
	r.Stderr = proc.ExtraFile
	environ, err := r.Environ()
	if err != nil {
		return nil, err
	}
	p, err := proc.StartSelf(fmt.Sprintf("worker %d", r.ID), environ)
	return p, descriptors.Explain(err)
}
