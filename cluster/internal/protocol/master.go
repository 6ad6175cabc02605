package protocol

import (
	"context"
	"errors"
	"io"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
)

// Master is a master, as its worker reaches it.
type Master struct{ *link }

var _ Steerer = Master{}

// NewMaster returns the master at the other end of a stream. [Master.Serve] makes it answer.
func NewMaster(stream io.ReadWriteCloser) Master { return Master{newLink(stream)} }

// Serve handles the messages of the master until the stream ends: requests by agent, and the order to leave by stop. It returns
// an error if the master has broken the protocol.
func (m Master) Serve(agent portgroup.Agent, stop func(Stop)) error {
	return m.serve(handlers{
		kindStop: told(stop),
		kindOpen: asked(func(ctx context.Context, q openRequest) (openAnswer, error) {
			inode, err := agent.Open(ctx, q.Port, q.Address)
			return openAnswer{inode}, err
		}),
		kindShut:   requested(func(ctx context.Context, q portRequest) error { return agent.Shut(ctx, q.Port) }),
		kindRejoin: requested(func(ctx context.Context, q portRequest) error { return agent.Rejoin(ctx, q.Port) }),
		kindAttach: requested(func(ctx context.Context, q attachRequest) error {
			if q.Steering == nil {
				return errors.New("the request has no steering")
			}
			return agent.Attach(ctx, q.Port, *q.Steering, q.Until)
		}),
		kindHelp:   requested(func(ctx context.Context, q helpRequest) error { return agent.Help(ctx, q.Port, q.Help) }),
		kindCPU:    requested(func(ctx context.Context, q cpuRequest) error { return agent.SetCPU(ctx, q.Port, q.CPU) }),
		kindExpect: requested(func(ctx context.Context, q sourceRequest) error { return agent.Expect(ctx, q.Port, q.Source) }),
		kindAwait: asked(func(ctx context.Context, q sourceRequest) (awaitAnswer, error) {
			inode, err := agent.Await(ctx, q.Port, q.Source)
			return awaitAnswer{inode}, err
		}),
		kindForget: asked(func(ctx context.Context, q sourceRequest) (forgetAnswer, error) {
			came, err := agent.Forget(ctx, q.Port, q.Source)
			return forgetAnswer{came}, err
		}),
		kindSnapshot: requested(func(ctx context.Context, q snapshotRequest) error { return agent.Keep(ctx, q.Port, q.Snapshot) }),
		kindProbe: asked(func(ctx context.Context, _ probeRequest) (portgroup.Load, error) {
			return agent.Probe(ctx)
		}),
	})
}

// Hello reports the listeners of this worker. It is the first message.
func (m Master) Hello(hello Hello) error { return m.tell(kindHello, hello) }

// Ready reports that this worker serves.
func (m Master) Ready() error { return m.tell(kindReady, struct{}{}) }

// Drained reports that this worker has closed its listeners.
func (m Master) Drained(d Drained) error { return m.tell(kindDrained, d) }

// Failed reports why this worker's node ends, and waits until the master has received it.
func (m Master) Failed(ctx context.Context, reason string) error {
	return request(ctx, m.link, kindFailed, failedRequest{reason})
}

// Reserve implements [Steerer], as do the methods that follow.
func (m Master) Reserve(ctx context.Context, port portgroup.Key) (address string, err error) {
	answer, err := ask[reserveAnswer](ctx, m.link, kindReserve, portRequest{port})
	return answer.Address, err
}

// Join adds this worker to the group of a port.
func (m Master) Join(ctx context.Context, port portgroup.Key) error {
	return request(ctx, m.link, kindJoin, portRequest{port})
}

// Exclude steers new connections away from this worker's listener of a port.
func (m Master) Exclude(ctx context.Context, port portgroup.Key) (epoch int, later bool, err error) {
	answer, err := ask[excludeAnswer](ctx, m.link, kindExclude, portRequest{port})
	return answer.Epoch, answer.Later, err
}

// Leave removes this worker from the group of a port.
func (m Master) Leave(ctx context.Context, port portgroup.Key, epoch int) (again bool, err error) {
	answer, err := ask[leaveAnswer](ctx, m.link, kindLeave, leaveRequest{port, epoch})
	return answer.Again, err
}
