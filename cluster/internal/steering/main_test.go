package steering

import (
	"os"
	"testing"

	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
