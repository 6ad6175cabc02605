package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// identify asks the kernel who sits at each index, and makes that the picture. While it asks, new connections go to those
// who have answered, once they are enough, and until then where the hash decides. So those who don't answer at once are
// asked last: a stranger, or a node that hangs, would get its part of the hash all the time for which it is waited for.
// The last index is asked first: strangers are in front, see guard. What can be presumed is not asked.
//
// A question is a connection that a program steers to one index; the node that accepts it sits there. An index whose
// question nobody accepts is a stranger's, if as many are missing as there are strangers, else nobody's who is known.
func (g *group) identify(ctx context.Context, listed []uint32) {
	g.epoch++
	found := make([]*member, len(listed))
	if len(g.presumed) == len(listed) {
		copy(found, g.presumed)
	}
	for _, timeout := range []time.Duration{quickTimeout, questionTimeout} {
		for i := range slices.Backward(found) {
			if found[i] != nil {
				continue
			}
			m, err := g.ask(ctx, i, g.proved(found), timeout)
			if err != nil {
				g.complain(ctx, fmt.Errorf("ask who has which part of them: %w", err))
				return
			}
			found[i] = m
		}
	}
	after, err := g.listed(ctx)
	if err != nil || !slices.Equal(listed, after) {
		return // somebody came or went while we asked
	}
	g.lost = false
	if missing, i := g.missing(found), slices.Index(found, nil); i >= 0 && len(missing) == 1 && missing[0].party == nil {
		found[i] = missing[0] // who cannot answer, is where nobody does
	}
	for i, m := range found {
		if m == nil {
			found[i] = g.placeholder(found)
		}
	}
	order := reuseport.NewOrder(found...)
	if order.Len() < len(found) {
		return // somebody has answered for two: the group was another one for a moment
	}
	g.order = order
	g.base, g.since = order.Members(), nil
	g.certain = true
}

// proved returns the weights while the kernel is asked, and some have answered.
func (g *group) proved(found []*member) []uint32 {
	all := make([]standing, len(found))
	for i, m := range found {
		if m != nil {
			all[i] = m.standing()
		}
	}
	return weights(all)
}

// missing returns the members of which nobody knows where they are.
func (g *group) missing(found []*member) (missing []*member) {
	for _, m := range g.seen {
		if !slices.Contains(found, m) {
			missing = append(missing, m)
		}
	}
	return missing
}

// placeholder returns what to put where nobody has answered: a stranger, if no node is missing.
func (g *group) placeholder(found []*member) *member {
	isNode := func(m *member) bool { return m.party != nil }
	g.lost = slices.ContainsFunc(g.missing(found), isNode)
	return &member{foreign: !g.lost}
}

// ask returns the member at an index, nil if it does not tell in time. Meanwhile all others have these weights.
func (g *group) ask(ctx context.Context, index int, weights []uint32, timeout time.Duration) (who *member, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	target, err := g.target()
	if err != nil {
		return nil, err
	}
	q, err := reuseport.NewQuestion(ctx, target)
	if err != nil {
		return nil, err
	}
	defer func() { g.end(q, who) }()
	asked := message{Source: q.Source()}
	watching := g.watch(ctx, asked)
	defer g.forget(asked, watching)

	mark := &reuseport.Mark{Port: q.Port(), Index: index}
	if err := g.attach(ctx, reuseport.Steering{Mark: mark, Weights: weights}); err != nil {
		if ctx.Err() != nil {
			return nil, nil
		}
		return nil, err
	}
	if err := q.Connect(ctx); err != nil {
		return nil, nil // the queue there is full, or whoever sits there is about to close it
	}
	return g.await(ctx, asked, watching), nil
}

// end ends the connection of a question, which has no data to lose. A node that has answered has taken it out of its queue;
// a program that knows nothing of questions is to see a client that changes its mind, and no error.
func (g *group) end(q *reuseport.Question, who *member) {
	if who != nil && who.party != nil && !who.mute {
		_ = q.Close() // nothing is left of it
		return
	}
	g.steering.running.Go(func() { // ends within questionTimeout
		ctx, cancel := context.WithTimeout(g.steering.ctx, questionTimeout)
		defer cancel()
		_ = q.Finish(ctx) // it carried nothing
	})
}

// watch lets all members watch for a question, and returns those that do.
func (g *group) watch(ctx context.Context, asked message) (watching []*member) {
	var calls sync.WaitGroup
	var mu sync.Mutex // guards watching
	asked.Kind = kindExpect
	for _, m := range g.callable() {
		if m.suspect.Load() {
			continue // it would take the whole time
		}
		calls.Go(func() { // ends with ctx
			if _, err := g.call(ctx, m.party, asked); err == nil {
				mu.Lock()
				defer mu.Unlock()
				watching = append(watching, m)
			}
		})
	}
	calls.Wait()
	return watching
}

// await returns the member that has accepted a question, nil if none does in time.
func (g *group) await(ctx context.Context, asked message, watching []*member) *member {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked.Kind = kindAwait
	answers := make(chan *member, len(watching))
	for _, m := range watching {
		g.steering.running.Go(func() { // ends with ctx
			if _, err := g.call(ctx, m.party, asked); err == nil {
				answers <- m
			} else {
				answers <- nil
			}
		})
	}
	for range watching {
		if m := <-answers; m != nil {
			return m
		}
	}
	return nil
}

// forget lets the members forget a question, and returns when they have: then its port may be a client's.
func (g *group) forget(asked message, watching []*member) {
	ctx, cancel := context.WithTimeout(g.steering.ctx, attachTimeout)
	defer cancel()
	asked.Kind = kindForget
	var calls sync.WaitGroup
	for _, m := range watching {
		calls.Go(func() { // ends with ctx
			_, _ = g.call(ctx, m.party, asked) // one that is gone has forgotten it
		})
	}
	calls.Wait()
}
