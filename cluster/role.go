package cluster

import (
	"errors"
	"sync"

	"github.com/multinode-go/multinode/cluster/internal/boot"
)

var (
	roleMu    sync.Mutex
	roleTaken bool // guarded by roleMu
)

// takeRole returns the role of this process, nil for a master. A worker has one role, and can take it once.
func takeRole() (*boot.Role, error) {
	role, err := boot.InheritedRole()
	if role == nil {
		return nil, err
	}
	roleMu.Lock()
	defer roleMu.Unlock()
	if roleTaken {
		return nil, errors.New("second Listen or Start in a worker: a process is in one cluster; use Node.Listen for more ports")
	}
	roleTaken = true
	return role, nil
}
