package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/framing"
)

// worker answers what its master asks. What a test does not set panics.
type worker struct {
	portgroup.Agent
	await func(context.Context) error
}

func (w *worker) Await(ctx context.Context, _ portgroup.Key, _ netip.AddrPort) (uint32, error) {
	return 0, w.await(ctx)
}

// awaitAnswerOf asks a worker that waits.
func awaitAnswerOf(ctx context.Context, w Worker, port portgroup.Key, source netip.AddrPort) error {
	_, err := w.Await(ctx, port, source)
	return err
}

func (w *worker) SetCPU(_ context.Context, _ portgroup.Key, cpu int) error {
	return fmt.Errorf("cpu %d", cpu)
}

func (w *worker) Open(_ context.Context, port portgroup.Key, _ string) (uint32, error) {
	return uint32(port.Nth), nil
}

// master notes what its worker says.
type master struct {
	Steerer
	worker Worker
	told   chan any
}

func (m *master) Hello(hello Hello)    { m.told <- hello }
func (m *master) Ready()               { m.told <- "ready" }
func (m *master) Drained(d Drained)    { m.told <- d }
func (m *master) Failed(reason string) { m.told <- reason }

// Join asks back before it answers.
func (m *master) Join(ctx context.Context, port portgroup.Key) error {
	inode, err := m.worker.Open(ctx, port, "")
	if err == nil && inode != uint32(port.Nth) {
		err = fmt.Errorf("inode %d", inode)
	}
	return err
}

// ends are both ends of a stream.
type ends struct {
	master  Master // as the worker has it
	worker  Worker // as the master has it
	told    chan any
	stopped chan Stop
	served  [2]chan error
	conns   [2]net.Conn
}

func bothEnds(t *testing.T, agent *worker) *ends {
	t.Helper()
	a, b := net.Pipe()
	e := &ends{
		master: NewMaster(a), worker: NewWorker(b), told: make(chan any), stopped: make(chan Stop), conns: [2]net.Conn{a, b},
		served: [2]chan error{make(chan error, 1), make(chan error, 1)},
	}
	go func() { e.served[0] <- e.master.Serve(agent, func(s Stop) { e.stopped <- s }) }() // ends with the stream
	go func() { e.served[1] <- e.worker.Serve(&master{worker: e.worker, told: e.told}) }()
	t.Cleanup(func() {
		require.NoError(t, errors.Join(a.Close(), b.Close()))
		assert.NoError(t, <-e.served[0])
		assert.NoError(t, <-e.served[1])
	})
	return e
}

func TestTold(t *testing.T) {
	e := bothEnds(t, new(worker))
	require.NoError(t, e.worker.Stop(Stop{Timeout: time.Minute, All: true}))
	assert.Equal(t, Stop{Timeout: time.Minute, All: true}, <-e.stopped)
	hello := Hello{Ready: true, Listeners: []Listener{{
		Port: portgroup.Key{Network: "tcp", Address: ":0", Nth: 2}, Address: "127.0.0.1:1", Inode: 7,
		Snapshot: &portgroup.Snapshot{At: time.Second, Inodes: []uint32{7, 8}},
	}}}
	require.NoError(t, e.master.Hello(hello))
	assert.Equal(t, hello, <-e.told)
	require.NoError(t, e.master.Ready())
	assert.Equal(t, "ready", <-e.told)
	failed := make(chan error, 1)
	go func() { failed <- e.master.Failed(t.Context(), "line one\nline two") }() // ends when it is read
	assert.Equal(t, "line one\nline two", <-e.told)
	assert.NoError(t, <-failed)
}

func TestToldInOrder(t *testing.T) {
	e := bothEnds(t, new(worker))
	go func() { // ends with the last message
		for i := range 100 {
			assert.NoError(t, e.master.Drained(Drained{Took: time.Duration(i)}))
		}
	}()
	for i := range 100 {
		assert.Equal(t, Drained{Took: time.Duration(i)}, <-e.told)
	}
}

func TestAskedInBothDirectionsAtOnce(t *testing.T) {
	e := bothEnds(t, new(worker))
	var askers sync.WaitGroup
	for i := range 20 {
		askers.Go(func() {
			for j := range 20 {
				port := portgroup.Key{Nth: i*1000 + j}
				inode, err := e.worker.Open(t.Context(), port, "")
				if assert.NoError(t, err) {
					assert.EqualValues(t, port.Nth, inode, "each gets the answer to its own request")
				}
			}
		})
		askers.Go(func() {
			for j := range 20 {
				assert.NoError(t, e.master.Join(t.Context(), portgroup.Key{Nth: i*1000 + j}), "which asks back")
			}
		})
	}
	askers.Wait()
	assert.Empty(t, e.master.asked)
	assert.Empty(t, e.worker.asked)
}

// TestAnsweredInAnyOrder: a slow request delays no other.
func TestAnsweredInAnyOrder(t *testing.T) {
	slow := make(chan struct{})
	e := bothEnds(t, &worker{await: func(context.Context) error { <-slow; return nil }})
	first := make(chan error, 1)
	go func() { first <- awaitAnswerOf(context.Background(), e.worker, portgroup.Key{}, netip.AddrPort{}) }() // ends with slow
	_, err := e.worker.Open(t.Context(), portgroup.Key{}, "")
	require.NoError(t, err)
	require.NoError(t, e.worker.Stop(Stop{All: true}))
	assert.Equal(t, Stop{All: true}, <-e.stopped)
	close(slow)
	assert.NoError(t, <-first)
}

func TestAnswerHoldsAnError(t *testing.T) {
	err := fmt.Errorf("bind: %w", syscall.EADDRINUSE)
	e := bothEnds(t, &worker{await: func(context.Context) error { return err }})
	told := awaitAnswerOf(t.Context(), e.worker, portgroup.Key{}, netip.AddrPort{})
	require.ErrorIs(t, told, syscall.EADDRINUSE)
	require.EqualError(t, told, "bind: address already in use")
	told = e.worker.SetCPU(t.Context(), portgroup.Key{}, 3)
	var remote *RemoteError
	require.ErrorAs(t, told, &remote)
	assert.Equal(t, RemoteError{Text: "cpu 3"}, *remote)
	assert.NotErrorIs(t, told, syscall.Errno(0))
}

func TestUnknownIsAnswered(t *testing.T) {
	e := bothEnds(t, new(worker))
	err := request(t.Context(), e.worker.link, "dance", struct{}{})
	var remote *RemoteError
	require.ErrorAs(t, err, &remote)
	require.EqualError(t, err, `the request "dance" is not known here`)
	require.NoError(t, e.worker.tell("dance", struct{}{}), "what is told is passed over")
	_, err = e.worker.Open(t.Context(), portgroup.Key{}, "")
	require.NoError(t, err)
}

func TestRequestIsGivenUp(t *testing.T) {
	answering := make(chan struct{})
	e := bothEnds(t, &worker{await: func(context.Context) error { <-answering; return nil }})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := awaitAnswerOf(ctx, e.worker, portgroup.Key{}, netip.AddrPort{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "await")
	assert.Empty(t, e.worker.asked, "no request is waiting")
	close(answering) // the late answer has no request
	inode, err := e.worker.Open(t.Context(), portgroup.Key{Nth: 5}, "")
	require.NoError(t, err)
	assert.EqualValues(t, 5, inode)
	require.NoError(t, e.master.send(header{kindAnswer, 4711}), "an answer to nothing is ignored")
	_, err = e.worker.Open(t.Context(), portgroup.Key{}, "")
	assert.NoError(t, err)
}

func TestEndOfAllRequests(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan struct{})
	e := bothEnds(t, &worker{await: func(ctx context.Context) error {
		close(asked)
		<-ctx.Done() // which ends with the stream
		close(ended)
		return nil
	}})
	failed := make(chan error, 1)
	go func() { failed <- awaitAnswerOf(context.Background(), e.worker, portgroup.Key{}, netip.AddrPort{}) }() // ends with the stream
	<-asked
	require.NoError(t, e.conns[0].Close())
	err := <-failed
	require.ErrorIs(t, err, ErrUnlinked)
	require.ErrorIs(t, err, net.ErrClosed)
	<-ended
	<-e.master.Ended()
	<-e.worker.Ended()
	_, err = e.worker.Open(t.Context(), portgroup.Key{}, "")
	require.ErrorIs(t, err, ErrUnlinked)
	require.ErrorContains(t, e.master.Ready(), "control message ready")
	assert.Empty(t, e.worker.asked)
}

func TestGarbageEndsTheStream(t *testing.T) {
	t.Parallel()
	huge, err := json.Marshal(make([]int, maxMessage))
	require.NoError(t, err)
	text := func(s string) []byte { return framing.AppendFrame(nil, framing.Text, []byte(s)) }
	for name, garbage := range map[string][]byte{
		"no frame":           []byte("hello\n"),
		"no JSON":            text("hello"),
		"another type":       text(`{"kind": 7}`),
		"bad source":         text(`{"kind": "expect", "seq": 1, "source": "nowhere"}`),
		"asked and no seq":   text(`{"kind": "probe"}`),
		"told with a number": text(`{"kind": "stop", "seq": 1}`),
		"a bad answer":       text(`{"kind": "answer", "seq": 1, "inode": "x"}`),
		"too long":           framing.AppendFrame(nil, framing.Text, huge),
		"half a message":     text(`{"kind": "ready"}`)[:9],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := net.Pipe()
			there := NewMaster(b)
			served := make(chan error, 1)
			there.asked[1] = &call{into: new(openAnswer), done: make(chan error, 1)}
			go func() { served <- there.Serve(new(worker), func(Stop) {}) }() // ends with the stream
			go io.Copy(io.Discard, a)                                         // what the link has to say about it; ends with a
			go func() {                                                       // ends with a
				_, _ = a.Write(garbage)
				if name == "half a message" {
					_ = a.Close()
				}
			}()
			assert.Equal(t, name == "half a message", <-served == nil, name)
			_ = a.Close()
		})
	}
}
