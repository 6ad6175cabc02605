package steering

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
)

// Explain adds to the error of a bind which processes hold the port, or how to solve it.
func Explain(ctx context.Context, key portgroup.Key, err error) error {
	return explain(ctx, kernel.Host(), key, err)
}

func explain(ctx context.Context, k kernel.Kernel, key portgroup.Key, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: %s; stop it, or choose another address", err, holders(ctx, k, key))
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: a port below 1024 requires the capability CAP_NET_BIND_SERVICE (setcap "+
			"cap_net_bind_service=+ep PROGRAM), or a lower sysctl net.ipv4.ip_unprivileged_port_start; "+
			"or choose a higher port", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this machine has that address (ip address lists them); "+
			"an empty host means all", err)
	default:
		return fmt.Errorf("address %q: %w", key.Address, err)
	}
}

// maxHolders is how many holders of a port an error lists.
const maxHolders = 4

// holders names the processes that hold a port, as far as the kernel shows them.
func holders(ctx context.Context, k kernel.Kernel, key portgroup.Key) string {
	owners, err := k.Owners(ctx, key.Network, key.Address)
	if err != nil {
		return fmt.Sprintf("the holder is not known (%v)", err)
	}
	var names []string
	for _, owner := range owners {
		name := owner.String()
		if owner.PID == os.Getpid() {
			name = "this process itself"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch more := len(names) - maxHolders; {
	case len(names) == 0:
		return "no process listens on it, but a connection may still use it (ss -tanp shows connections)"
	case more > 0:
		return fmt.Sprintf("held by %s and %d more", strings.Join(names[:maxHolders], ", "), more)
	default:
		return "held by " + strings.Join(names, ", ")
	}
}
