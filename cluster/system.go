package cluster

import "github.com/multinode-go/multinode/reuseport"

func realSystem() system {
	return system{balances: reuseport.Supported, start: startProcess, adopt: adoptProcess}
}
