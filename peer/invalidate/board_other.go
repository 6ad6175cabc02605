//go:build !linux

package invalidate

import (
	"errors"
	"log/slog"
	"time"

	"github.com/multinode-go/multinode/peer"
)

// seat is for where processes can share a board.
type seat struct{}

func shareBoard(*peer.Mesh, *slog.Logger, string, int, time.Duration) (*board, error) {
	return nil, errors.ErrUnsupported
}

func (*seat) isTaken(int) bool       { return false }
func (*seat) sweep(*board, int) bool { return false }
func (*seat) close() error           { return nil }
