package protocol

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// Worker is a worker, as its master reaches it.
type Worker struct{ *link }

var _ portgroup.Agent = Worker{}

// NewWorker returns the worker at the other end of a stream. [Worker.Serve] makes it answer.
func NewWorker(stream io.ReadWriteCloser) Worker { return Worker{newLink(stream)} }

// Steerer steers the groups that a node is in: its master does. The methods may be called at the same time.
type Steerer interface {
	// Reserve holds a port for all nodes, and returns its address.
	Reserve(ctx context.Context, port portgroup.Key) (address string, err error)
	// Join adds the node to the group of a port: the node is asked to listen before Join returns.
	Join(ctx context.Context, port portgroup.Key) error
	// Exclude steers new connections away from the node's listener, and returns the epoch for Leave. An epoch of 0 says that the
	// node may still get connections; later says that a later attempt may succeed.
	Exclude(ctx context.Context, port portgroup.Key) (epoch int, later bool, err error)
	// Leave removes a drained node from the group of a port, and closes its listener, if its exclusion has held since epoch. Else
	// it returns again: the node has to be excluded again, as it may have got connections.
	Leave(ctx context.Context, port portgroup.Key, epoch int) (again bool, err error)
}

// FromWorker handles the messages of a worker.
type FromWorker interface {
	Steerer
	Hello(hello Hello)
	Ready()
	Drained(d Drained)
	// Failed is called with the reason why the worker's node ends. The worker ends when Failed has returned.
	Failed(reason string)
}

// Serve handles the messages of the worker until the stream ends. It returns an error if the worker has broken the protocol.
func (w Worker) Serve(to FromWorker) error {
	return w.serve(handlers{
		kindHello:   told(to.Hello),
		kindReady:   told(func(struct{}) { to.Ready() }),
		kindDrained: told(to.Drained),
		kindFailed: requested(func(_ context.Context, q failedRequest) error {
			to.Failed(q.Error)
			return nil
		}),
		kindReserve: asked(func(ctx context.Context, q portRequest) (reserveAnswer, error) {
			address, err := to.Reserve(ctx, q.Port)
			return reserveAnswer{address}, err
		}),
		kindJoin: requested(func(ctx context.Context, q portRequest) error { return to.Join(ctx, q.Port) }),
		kindExclude: asked(func(ctx context.Context, q portRequest) (excludeAnswer, error) {
			epoch, later, err := to.Exclude(ctx, q.Port)
			return excludeAnswer{epoch, later}, err
		}),
		kindLeave: asked(func(ctx context.Context, q leaveRequest) (leaveAnswer, error) {
			again, err := to.Leave(ctx, q.Port, q.Epoch)
			return leaveAnswer{again}, err
		}),
	})
}

// Stop asks the worker to leave.
func (w Worker) Stop(s Stop) error { return w.tell(kindStop, s) }

// Open implements [portgroup.Agent], as do the methods that follow.
func (w Worker) Open(ctx context.Context, port portgroup.Key, address string) (inode uint32, err error) {
	answer, err := ask[openAnswer](ctx, w.link, kindOpen, openRequest{port, address})
	return answer.Inode, err
}

// Shut closes its listener of a port.
func (w Worker) Shut(ctx context.Context, port portgroup.Key) error {
	return request(ctx, w.link, kindShut, portRequest{port})
}

// Rejoin asks the worker to leave the group of a port and join it again.
func (w Worker) Rejoin(ctx context.Context, port portgroup.Key) error {
	return request(ctx, w.link, kindRejoin, portRequest{port})
}

// Attach asks the worker to attach a program.
func (w Worker) Attach(ctx context.Context, port portgroup.Key, s reuseport.Steering, until time.Duration) error {
	return request(ctx, w.link, kindAttach, attachRequest{port, &s, until})
}

// SetCPU asks the worker for SO_INCOMING_CPU on its listener.
func (w Worker) SetCPU(ctx context.Context, port portgroup.Key, cpu int) error {
	return request(ctx, w.link, kindCPU, cpuRequest{port, cpu})
}

// Help sets whether it accepts from the queues of others. A worker of an older version shares none.
func (w Worker) Help(ctx context.Context, port portgroup.Key, is bool) error {
	return request(ctx, w.link, kindHelp, helpRequest{port, is})
}

// Expect asks the worker to watch for a probe connection.
func (w Worker) Expect(ctx context.Context, port portgroup.Key, source netip.AddrPort) error {
	return request(ctx, w.link, kindExpect, sourceRequest{port, source})
}

// Await waits until it has accepted a probe connection.
func (w Worker) Await(ctx context.Context, port portgroup.Key, source netip.AddrPort) (inode uint32, err error) {
	answer, err := ask[awaitAnswer](ctx, w.link, kindAwait, sourceRequest{port, source})
	return answer.Inode, err
}

// Forget ends an Expect.
func (w Worker) Forget(ctx context.Context, port portgroup.Key, source netip.AddrPort) (came bool, err error) {
	answer, err := ask[forgetAnswer](ctx, w.link, kindForget, sourceRequest{port, source})
	return answer.Came, err
}

// Keep asks the worker to keep a snapshot.
func (w Worker) Keep(ctx context.Context, port portgroup.Key, s portgroup.Snapshot) error {
	return request(ctx, w.link, kindSnapshot, snapshotRequest{port, s})
}

// Probe waits until its accept loops have passed.
func (w Worker) Probe(ctx context.Context) (portgroup.Load, error) {
	return ask[portgroup.Load](ctx, w.link, kindProbe, probeRequest{})
}
