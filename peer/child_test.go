package peer

import (
	"context"
	"os"
	"time"

	"github.com/multinode-go/multinode/internal/proctest"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

var child = proctest.Role[childJob]{Variable: "PEER_TEST_CHILD", Do: childJob.do}

type childJob struct {
	Directory string
	Lock      bool // take the lock of the cluster

	Join             bool
	Guest            bool
	ID               int
	Incarnation      rendezvous.Incarnation `json:",omitempty"`
	HandshakeTimeout time.Duration
}

func (job childJob) do() (leave func() error, err error) {
	dir, err := rendezvous.Open(job.Directory)
	if err != nil {
		return nil, err
	}
	if job.Lock {
		if _, err := dir.Lock(rendezvous.Owner{PID: os.Getpid(), Cluster: "test", Address: ":8080"}); err != nil {
			return nil, err
		}
	}
	if !job.Join {
		return nil, nil
	}
	opts := Options{
		Directory: dir.Path(), Self: Info{Cluster: "test", ID: job.ID, Incarnation: job.Incarnation},
		handshakeTimeout: job.HandshakeTimeout,
	}
	if job.ID == 0 && !job.Guest {
		opts.inside.NextID = noGuests
	}
	m, err := Join(context.Background(), opts)
	if err != nil {
		return nil, err
	}
	_, err = m.OnStream("x", nil, echo)
	return m.Close, err
}
