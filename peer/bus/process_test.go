//go:build linux

package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/proctest"
	"github.com/multinode-go/multinode/peer"
)

// nodeRole is that of nodes that answer on "echo", and on "log" write the first 8 bytes of each message to their standard output.
var nodeRole = proctest.Role[nodeJob]{Variable: "BUS_TEST_NODE", Do: nodeJob.do}

func init() { programs[nodeRole.Variable] = func() int { nodeRole.Become(); return 1 } }

type nodeJob struct {
	Directory string
	ID        int
}

func (job nodeJob) do() (leave func() error, err error) {
	ctx := context.Background()
	mesh, err := peer.Join(ctx, peer.Options{Directory: job.Directory, Self: peer.Info{Cluster: "test", ID: job.ID}})
	if err != nil {
		return nil, err
	}
	b, err := New(ctx, mesh, Options{})
	if err != nil {
		return nil, err
	}
	_, err = b.Subscribe("log", func(_ context.Context, m Message) (any, error) {
		_, err := os.Stdout.Write(m.Data[:8])
		return nil, err
	})
	if err == nil {
		_, err = b.Subscribe("echo", echo)
	}
	if err == nil {
		err = b.Flush(ctx)
	}
	return func() error { return errors.Join(b.Close(), mesh.Close()) }, err
}

func startNode(t *testing.T, dir string, id int) *proctest.Child {
	t.Helper()
	return nodeRole.Start(t, nodeJob{Directory: dir, ID: id})
}

// stop stops a process with SIGSTOP, and waits until it is.
func stop(t *testing.T, p *proctest.Child) {
	t.Helper()
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	require.Eventually(t, func() bool { return proctest.IsStopped(p.Pid) }, patient, time.Millisecond)
	t.Cleanup(func() { _ = p.Signal(syscall.SIGCONT) })
}

// What arrives at a process that is killed is a prefix of what was sent, and the sender learns how much is uncertain.
func TestKilledPeer(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	n := joinBus(t, dir, 0, Options{})
	events := make(chan peer.Event, 10)
	n.mesh.OnEvent(func(e peer.Event) { events <- e })
	p := startNode(t, dir, 1)
	eventually(t, func() bool { return len(n.peers()) == 1 }, "it is linked")
	ctx := limited(t)
	_, err := n.Request(ctx, 1, "echo", 1)
	require.NoError(t, err)

	failed, sent := make(chan error), 0
	go func() {
		data := make([]byte, 64)
		for {
			binary.BigEndian.PutUint64(data, uint64(sent))
			if err := n.Send(ctx, 1, "log", data); err != nil {
				failed <- err
				return
			}
			sent++
		}
	}()
	var arrived uint64
	killed := false
	record := make([]byte, 8)
	for err == nil {
		if _, err = io.ReadFull(p.Out, record); err == nil {
			require.Equal(t, arrived, binary.BigEndian.Uint64(record))
			arrived++
		}
		if !killed && arrived >= 2000 && confirmed(n.Bus, "log") > 0 {
			require.NoError(t, p.Kill())
			killed = true
		}
	}
	require.ErrorIs(t, err, io.EOF)
	err = next(t, failed)
	require.True(t, errors.Is(err, ErrPeerLeft) || errors.Is(err, ErrNoPeer), "%v", err)
	var lost Lost
	eventually(t, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.lost) > 0 {
			lost = n.lost[0]
		}
		return len(n.lost) > 0
	}, "the sender learns of it")
	handled := sent - lost.Unconfirmed
	assert.Equal(t, "log", lost.Topic)
	assert.Equal(t, p.Pid, lost.Peer.PID)
	assert.LessOrEqual(t, handled, int(arrived), "what is confirmed has been handled")
	assert.Positive(t, handled)
	assert.EqualValues(t, lost.Unconfirmed, n.Stats().Total.Lost)
	event := next(t, events)
	for event.Type != peer.Left {
		event = next(t, events)
	}
	assert.Equal(t, peer.ReasonDied, event.Reason, "it was not cut")
}

// A request ends as soon as its peer has died.
func TestRequestToAKilledPeer(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	n := joinBus(t, dir, 0, Options{})
	p, q := startNode(t, dir, 1), startNode(t, dir, 2)
	eventually(t, func() bool { return len(n.peers()) == 2 }, "they are linked")
	ctx := limited(t)
	eventually(t, func() bool {
		answers, err := n.RequestAll(ctx, "echo", 1)
		return err == nil && len(answers) == 2
	}, "they have subscribed")
	stop(t, p)
	var answers []Answer
	failed := make(chan error)
	go func() {
		var err error
		answers, err = n.RequestAll(ctx, "echo", "x")
		failed <- err
	}()
	eventually(t, func() bool { return n.Stats().Total.Sent >= 4 }, "they are asked")
	require.NoError(t, p.Kill())
	require.ErrorIs(t, next(t, failed), ErrPeerLeft)
	require.Len(t, answers, 2)
	require.ErrorIs(t, answers[0].Err, ErrPeerLeft)
	require.NoError(t, answers[1].Err)
	assert.Equal(t, `"x"`, string(answers[1].Data))
	_ = q
}

// A process that does not read delays no other peer, at each choice for the bound.
func TestStoppedPeer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		full Full
		want error
	}{
		"Block": {Block, context.Canceled},
		"Fail":  {Fail, ErrFull},
		"Cut":   {Cut, ErrPeerLeft},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := makeDirectory(t)
			n := joinBus(t, dir, 0, Options{CloseTimeout: 100 * time.Millisecond})
			stopped := startNode(t, dir, 1)
			startNode(t, dir, 2)
			eventually(t, func() bool { return len(n.peers()) == 2 }, "they are linked")
			stop(t, stopped)
			ctx, cancel := context.WithCancel(limited(t))
			defer cancel()
			go func() { // ends with the wait, or with the test
				for n.Stats().Total.Blocked == 0 && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			b, data := n.WhenFull(tt.full), make([]byte, 1000)
			var err error
			sent := 0
			for ; err == nil; sent++ {
				if err = b.Broadcast(ctx, "echo", data); err == nil && sent%100 == 0 {
					_, err := n.Request(limited(t), 2, "echo", 1)
					require.NoError(t, err, "the other one")
				}
			}
			require.ErrorIs(t, err, tt.want)
			peers, ok := errors.AsType[*PeersError](err)
			require.True(t, ok)
			require.Len(t, peers.Errors, 1)
			require.Equal(t, 1, peers.Errors[0].Peer.ID)
			assert.Greater(t, sent, 1000)
			_, err = n.Request(limited(t), 2, "echo", 1)
			require.NoError(t, err)
			stats := n.Stats().Total
			assert.Positive(t, stats.Blocked+stats.Failed+stats.Cut)
			if tt.full != Cut {
				return
			}
			require.NoError(t, stopped.Signal(syscall.SIGCONT))
			eventually(t, func() bool {
				_, err := n.Request(limited(t), 1, "echo", 1)
				return err == nil
			}, "it joins again when it goes on")
		})
	}
}
