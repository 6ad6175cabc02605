//go:build !linux

package invalidate

import (
	"errors"

	"github.com/multinode-go/multinode/peer"
)

// seat is there where processes can share a board.
type seat struct{}

func shareBoard(string, string, int, peer.Incarnation) (*board, error) {
	return nil, errors.ErrUnsupported
}

func (*seat) isTaken(int) bool       { return false }
func (*seat) sweep(*board, int) bool { return false }
func (*seat) close(int) error        { return nil }
