//go:build !linux

package invalidate

import (
	"errors"
	"log/slog"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
)

// host is for systems where processes can share memory.
type host struct{}

func shareTable(*peer.Mesh, *slog.Logger, string, int, time.Duration) (*versioned.Table, *host, error) {
	return nil, nil, errors.ErrUnsupported
}

func (*host) close() error { return nil }
