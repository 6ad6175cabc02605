package peer

import (
	"os"
	"testing"

	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(leaktest.Run(m))
}
