package cluster

import (
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

func realSystem() system {
	return system{
		balances: reuseport.Supported, start: startSelf,
		adopt: func(info peer.Info) (*process, error) { return adoptProcess(info.PID) },
	}
}
