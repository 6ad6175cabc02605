//go:build linux

package bus

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trusted waits until the reader of to handles a topic itself.
func trusted(t *testing.T, from, to *node, topic string) *link {
	t.Helper()
	l := to.hub.links.to(from.info.ID)
	eventually(t, func() bool {
		before := l.turn.Load()
		_, err := from.Request(limited(t), to.info.ID, topic, "quick")
		require.NoError(t, err)
		return l.turn.Load() != before
	}, "the reader calls the handler")
	return l
}

// switching returns a handler that is quick, until it gets something else than "quick": then it does what it is given.
func switching(slow func(ctx context.Context, m Message) (any, error)) Handler {
	return func(ctx context.Context, m Message) (any, error) {
		if string(m.Data) == `"quick"` {
			return m.Message, nil
		}
		return slow(ctx, m)
	}
}

func TestQuickHandlerThatBlocksHarmsNoOtherTopic(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	reached, release := make(chan none), make(chan none)
	subscribe(t, b, "t", switching(func(context.Context, Message) (any, error) {
		reached <- none{}
		<-release
		return "late", nil
	}))
	other := collect(t, b, "other")
	l := trusted(t, a, b, "t")
	for caught := false; !caught; { // on a busy machine, it can be taken for slow before
		trusted(t, a, b, "t")
		answered := make(chan error)
		go func() {
			m, err := a.Request(ctx, 2, "t", "slow")
			if err == nil && string(m.Data) != `"late"` {
				err = errors.New(string(m.Data))
			}
			answered <- err
		}()
		next(t, reached)
		for n := range 100 {
			require.NoError(t, a.Send(ctx, 2, "other", n))
		}
		for n := range 100 {
			require.Equal(t, strconv.Itoa(n), next(t, other))
		}
		release <- none{}
		require.NoError(t, next(t, answered))
		q := &l.inboxes.byNumber[1].queue
		q.mu.Lock()
		caught = q.trust < -proof // and is not called by the reader again for long
		q.mu.Unlock()
	}
}

// The answer to what a handler asks comes over the link whose reader has called it.
func TestQuickHandlerThatAsksBack(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	ctx := limited(t)
	subscribe(t, a, "back", echo)
	subscribe(t, b, "t", switching(func(ctx context.Context, m Message) (any, error) {
		answer, err := b.Request(ctx, 1, "back", m.Message)
		return answer.Message, err
	}))
	trusted(t, a, b, "t")
	for i := range 100 {
		m, err := a.Request(ctx, 2, "t", i)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(i), string(m.Data))
	}
}

func TestQuickHandlerThatPanics(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){
		"panic":  func() { panic("oh") },
		"goexit": runtime.Goexit,
		"slow and goexit": func() {
			time.Sleep(5 * patience)
			runtime.Goexit()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, Options{})
			subscribe(t, b, "t", switching(func(context.Context, Message) (any, error) {
				end()
				return "never", nil
			}))
			for range 5 {
				trusted(t, a, b, "t")
				_, err := a.Request(limited(t), 2, "t", "bad")
				_, isRemote := errors.AsType[*RemoteError](err)
				require.True(t, isRemote, "%v", err)
				if name != "panic" && name != "goexit" {
					break
				}
			}
			_, err := a.Request(limited(t), 2, "t", "quick")
			require.NoError(t, err)
			assert.Positive(t, b.Stats().Total.Panics)
		})
	}
}

// A reader that is in a handler when its link ends, or its bus is closed, delays neither.
func TestQuickHandlerAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(a, b *node){
		"link":         func(a, _ *node) { a.conns[2].Close() },
		"bus":          func(_, b *node) { go b.Close() },
		"other bus":    func(a, _ *node) { go a.Close() },
		"subscription": func(_, b *node) { go b.hub.subscription(1).Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, Options{})
			subscribe(t, b, "t", switching(func(ctx context.Context, _ Message) (any, error) {
				end(a, b)
				<-ctx.Done()
				return nil, ctx.Err()
			}))
			trusted(t, a, b, "t")
			_, err := a.Request(limited(t), 2, "t", "bad")
			require.Error(t, err)
		})
	}
}

// When no message is handled, the watch goes off.
func TestWatchGoesOff(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	subscribe(t, b, "t", echo)
	for range 3 {
		trusted(t, a, b, "t")
		eventually(t, func() bool { return !b.hub.watch.on.Load() }, "it goes off")
	}
}
