package rendezvous

import (
	"os"
	"testing"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/internal/proctest"
)

const limit = await.Limit // for an event that has to come

func TestMain(m *testing.M) {
	child.Become()
	os.Exit(leaktest.Run(m))
}

var child = proctest.Role[childJob]{Variable: "RENDEZVOUS_TEST_CHILD", Do: childJob.do}

type childJob struct {
	Directory string
	Lock      bool  // take the lock of the cluster
	Publish   *Node // publish this one
}

func (job childJob) do() (leave func() error, err error) {
	dir, err := Open(job.Directory)
	if err != nil {
		return nil, err
	}
	if job.Lock {
		if _, err := dir.Lock(Owner{PID: os.Getpid(), Cluster: "test", Address: ":8080"}); err != nil {
			return nil, err
		}
	}
	if job.Publish == nil {
		return nil, nil
	}
	p, err := dir.Publish(*job.Publish)
	if err != nil {
		return nil, err
	}
	return p.Listener().Close, nil
}
