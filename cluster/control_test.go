package cluster

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

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/reuseport"
)

// end is one end of a link, which hands out what comes and answers questions by asked.
type end struct {
	*link
	conn     io.Closer
	messages chan message
	err      chan error // gets what serve has returned
}

// serveEnd serves a link over conn until that is closed.
func serveEnd(conn io.ReadWriteCloser, asked func(context.Context, message) message) *end {
	e := &end{link: newLink(conn), conn: conn, messages: make(chan message), err: make(chan error, 1)}
	go func() { // ends with the link
		e.err <- e.serve(func(m message) { e.messages <- m }, asked)
		close(e.messages)
	}()
	return e
}

// sameBack answers each question with itself.
func sameBack(_ context.Context, q message) message { return q }

// twoEnds returns the two ends of a link. The second answers by asked, the first by sameBack.
func twoEnds(t *testing.T, asked func(context.Context, message) message) (here, there *end) {
	t.Helper()
	a, b := net.Pipe()
	here, there = serveEnd(a, sameBack), serveEnd(b, asked)
	t.Cleanup(func() {
		require.NoError(t, errors.Join(a.Close(), b.Close()))
		assert.NoError(t, <-here.err)
		assert.NoError(t, <-there.err)
	})
	return here, there
}

func TestLinkCarriesMessages(t *testing.T) {
	here, there := twoEnds(t, sameBack)
	key := &portKey{Network: "tcp", Address: ":0", Nth: 2}
	for _, want := range []message{
		{Kind: kindReady},
		{Kind: kindStop, Timeout: time.Minute, All: true},
		{Kind: kindDrained, Took: time.Millisecond, Error: "line one\nline two"},
		{Kind: kindHello, Ready: true, Seats: []seatInfo{{Port: *key, Address: "127.0.0.1:1", Inode: 7, Queue: 1, Limit: 2}}},
		{Kind: kindExpect, Port: key, Source: netip.MustParseAddrPort("[::1]:80")},
		{Kind: kindAttach, Port: key, Steering: &reuseport.Steering{Weights: []uint32{0, 1}}},
		{Kind: kindAttach, Port: key, Steering: &reuseport.Steering{Mark: &reuseport.Mark{Port: 80, Index: 3}}},
	} {
		require.NoError(t, here.send(want))
		assert.Equal(t, want, <-there.messages)
		require.NoError(t, there.send(want))
		assert.Equal(t, want, <-here.messages)
		want.Kind = "question"
		answer, err := here.ask(t.Context(), want)
		if want.Error == "" {
			require.NoError(t, err)
		}
		want.Kind, want.Seq = kindAnswer, answer.Seq
		assert.Equal(t, want, answer)
	}
}

func TestLinkKeepsTheOrderOfMessages(t *testing.T) {
	here, there := twoEnds(t, sameBack)
	go func() { // ends with the last message
		for i := range 100 {
			assert.NoError(t, here.send(message{Kind: kindReady, CPU: i}))
		}
	}()
	for i := range 100 {
		assert.Equal(t, i, (<-there.messages).CPU)
	}
}

func TestLinkAsksInBothDirectionsAtOnce(t *testing.T) {
	here, there := twoEnds(t, sameBack)
	var askers sync.WaitGroup
	for i := range 20 {
		for _, l := range []*end{here, there} {
			askers.Go(func() {
				for j := range 20 {
					want := i*1000 + j
					answer, err := l.ask(t.Context(), message{Kind: kindProbe, CPU: want})
					assert.NoError(t, err)
					assert.Equal(t, want, answer.CPU, "each gets the answer to its own question")
				}
			})
		}
	}
	askers.Wait()
	assert.Empty(t, here.asked)
	assert.Empty(t, there.asked)
}

// TestLinkAnswersInAnyOrder: a question that takes long is in nobody's way.
func TestLinkAnswersInAnyOrder(t *testing.T) {
	slow := make(chan struct{})
	here, there := twoEnds(t, func(_ context.Context, q message) message {
		if q.Kind == kindAwait {
			<-slow
		}
		return q
	})
	first := make(chan error, 1)
	go func() { // ends with slow
		_, err := here.ask(context.Background(), message{Kind: kindAwait})
		first <- err
	}()
	_, err := here.ask(t.Context(), message{Kind: kindProbe})
	require.NoError(t, err)
	require.NoError(t, here.send(message{Kind: kindReady}))
	assert.Equal(t, kindReady, (<-there.messages).Kind)
	close(slow)
	assert.NoError(t, <-first)
}

// TestLinkAsksBackWhileItIsAsked is what a join does: the master asks the worker before it answers.
func TestLinkAsksBackWhileItIsAsked(t *testing.T) {
	var there *end
	ready := make(chan struct{})
	here, there := twoEnds(t, func(ctx context.Context, q message) message {
		<-ready
		answer, err := there.ask(ctx, message{Kind: kindOpen, CPU: q.CPU + 1})
		if err != nil {
			return failure(err)
		}
		return answer
	})
	close(ready)
	answer, err := here.ask(t.Context(), message{Kind: kindJoin, CPU: 1})
	require.NoError(t, err)
	assert.Equal(t, 2, answer.CPU)
}

func TestLinkAnswerHoldsAnError(t *testing.T) {
	here, _ := twoEnds(t, func(context.Context, message) message {
		return failure(fmt.Errorf("bind: %w", syscall.EADDRINUSE))
	})
	_, err := here.ask(t.Context(), message{Kind: kindJoin})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	var told *remoteError
	require.ErrorAs(t, err, &told)
	assert.EqualError(t, err, "bind: address already in use")

	assert.NoError(t, message{}.err())
	assert.NotErrorIs(t, failure(errors.New("no errno")).err(), syscall.EADDRINUSE)
}

func TestLinkQuestionIsGivenUp(t *testing.T) {
	answering := make(chan struct{})
	here, there := twoEnds(t, func(_ context.Context, q message) message {
		if q.Kind == kindAwait {
			<-answering
		}
		return q
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := here.ask(ctx, message{Kind: kindAwait})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "await")
	assert.Empty(t, here.asked, "nobody waits any more")
	close(answering) // the late answer is nobody's
	answer, err := here.ask(t.Context(), message{Kind: kindProbe, CPU: 5})
	require.NoError(t, err)
	assert.Equal(t, 5, answer.CPU)
	require.NoError(t, there.send(message{Kind: kindAnswer, Seq: 4711}), "an answer to nothing is ignored")
	_, err = here.ask(t.Context(), message{Kind: kindProbe})
	assert.NoError(t, err)
}

func TestLinkEndsAllQuestions(t *testing.T) {
	a, b := net.Pipe()
	asked, ended := make(chan struct{}), make(chan struct{})
	here := serveEnd(a, sameBack)
	there := serveEnd(b, func(ctx context.Context, q message) message {
		close(asked)
		<-ctx.Done() // which ends with the link
		close(ended)
		return q
	})
	failed := make(chan error, 1)
	go func() { // ends with the link
		_, err := here.ask(context.Background(), message{Kind: kindAwait})
		failed <- err
	}()
	<-asked
	require.NoError(t, b.Close())
	err := <-failed
	require.ErrorIs(t, err, errUnlinked)
	require.ErrorIs(t, err, net.ErrClosed)
	<-ended
	require.NoError(t, <-there.err, "serve waits for what it is asked")
	require.NoError(t, <-here.err)
	_, err = here.ask(t.Context(), message{Kind: kindProbe})
	require.ErrorIs(t, err, errUnlinked)
	assert.ErrorContains(t, there.send(message{Kind: kindReady}), "control message ready")
	assert.Empty(t, here.asked)
}

func TestLinkEndsWithGarbage(t *testing.T) {
	t.Parallel()
	huge, err := json.Marshal(make([]int, maxMessage))
	require.NoError(t, err)
	for name, garbage := range map[string][]byte{
		"no frame":       []byte("hello\n"),
		"no JSON":        framing.AppendFrame(nil, framing.Text, []byte("hello")),
		"another type":   framing.AppendFrame(nil, framing.Text, []byte(`{"kind": 7}`)),
		"bad source":     framing.AppendFrame(nil, framing.Text, []byte(`{"kind": "expect", "source": "nowhere"}`)),
		"too long":       framing.AppendFrame(nil, framing.Text, huge),
		"half a message": framing.AppendFrame(nil, framing.Text, []byte(`{"kind": "ready"}`))[:9],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := net.Pipe()
			there := serveEnd(b, sameBack)
			go io.Copy(io.Discard, a) // what the link has to say about it; ends with a
			go func() {               // ends with a
				_, _ = a.Write(garbage)
				if name == "half a message" {
					_ = a.Close()
				}
			}()
			_, open := <-there.messages
			assert.False(t, open, name)
			assert.Equal(t, name == "half a message", <-there.err == nil, name)
			_ = a.Close()
		})
	}
}
