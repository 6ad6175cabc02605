package main

import (
	"testing"

	"github.com/multinode-go/multinode/examples/internal/reload"
)

func TestMain(m *testing.M) { reload.Main(m, run) }

func TestReload(t *testing.T) {
	reload.Test(t, reload.Posts, reload.Posts, reload.Posts, reload.Posts)
}
