package peer

import (
	"os"
	"testing"

	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) {
	child.Become()
	os.Exit(leaktest.Run(m))
}
