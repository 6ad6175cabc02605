package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate"
)

// topicFill asks a peer to have so many keys cached.
const topicFill = "fill"

// maxEntries is how many values any of the caches holds, more than there are keys.
const maxEntries = 1 << 20

// classesEach is how many classes of keys the cache has for each value that it can store.
const classesEach = 4

// maxLease is the longest lease.
const maxLease = 30 * time.Second

// cacheNode is a node on the bus that has the cache. It is also a leader's.
type cacheNode struct {
	*busNode
	cache *invalidate.Cache[string, int64]
	loads atomic.Int64
}

func addCache(p player, n *busNode) (*cacheNode, error) {
	c := &cacheNode{busNode: n}
	opts := invalidate.Options[string, int64]{
		Name: "bench", MaxEntries: maxEntries, DisableSharedMemory: p.System == cacheMessages,
		Lease: maxLease, // with a short one, a process that gets no CPU for that time would have nothing cached
	}
	var err error
	c.cache, err = invalidate.New(n.Bus, opts, func(context.Context, string) (int64, error) { return c.loads.Add(1), nil })
	return c, err
}

// Close leaves the cache before the mesh.
func (n *cacheNode) Close() error {
	var err error
	if n.cache != nil {
		err = n.cache.Close()
	}
	return errors.Join(err, n.busNode.Close())
}

// followCache is a peer that has the cache, and is on the bus.
func followCache(p player) (io.Closer, error) {
	b, err := newBusFollower(p)
	if err != nil {
		return nil, err
	}
	n, err := addCache(p, b)
	if err == nil {
		_, filled := n.Subscribe(topicFill, n.fillOnBus)
		_, read := n.Subscribe(topicHits, n.trafficOnBus)
		err = errors.Join(filled, read)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *cacheNode) fillOnBus(ctx context.Context, m bus.Message) (any, error) {
	return onFill(m.Data, func(keys int) (int, error) { return n.fill(ctx, keys) })
}

// onFill takes a question of how many keys, and returns the answer of how many of them were not stored before.
func onFill(question []byte, fill func(keys int) (int, error)) ([]byte, error) {
	keys, err := strconv.Atoi(string(question))
	if err != nil {
		return nil, err
	}
	loaded, err := fill(keys)
	return strconv.AppendInt(nil, int64(loaded), 10), err
}

// fill has the first so many keys cached, and returns how many were not. It is an error when they are not stored.
func (n *cacheNode) fill(ctx context.Context, keys int) (loaded int, err error) {
	before := n.loads.Load()
	for range 2 {
		loaded = int(n.loads.Load() - before)
		for i := range keys {
			if _, err := n.cache.Get(ctx, keyOf(i)); err != nil {
				return 0, err
			}
		}
	}
	if again := int(n.loads.Load()-before) - loaded; again > 0 {
		return 0, fmt.Errorf("%d of %d values were not stored", again, keys)
	}
	return loaded, nil
}

func keyOf(i int) string { return strconv.Itoa(i) }

// keyring has the keys of what all processes have stored. At most half of them are invalidated, each once; the others must stay.
type keyring struct {
	stored  []string
	used    int
	classes int // of keys: what is in one class is lost together; 0: each is by itself
}

// loss is what the processes have lost since they have stored all. Each has lost what was invalidated.
type loss struct {
	Invalidated int64
	Besides     int64 // of all processes together
}

// minInvalidation is less than a message to all and their answers take.
const minInvalidation = 20 * time.Microsecond

// keysFor returns how many keys those who send messages cannot use up in a time. Who needs none has used them up before.
func keysFor(d time.Duration) (int, error) {
	keys := int(d / minInvalidation)
	if storedFor(keys) > maxEntries/2 {
		return 0, fmt.Errorf("%d keys are too many for a cache of %d: make -slice shorter", storedFor(keys), maxEntries)
	}
	return keys, nil
}

// storedFor returns how many values are stored when so many are to be invalidated.
func storedFor(keys int) int { return 2 * keys }

// next returns a key that was not used.
func (k *keyring) next() (string, error) {
	if k.used >= len(k.stored)/2 {
		return "", fmt.Errorf("all of %d keys were used", k.used)
	}
	k.used++
	return k.stored[k.used-1], nil
}

// refilled begins anew with keys to use, as many each time. loaded is how many values each process had to store, and lost
// what it had lost since the last time.
func (k *keyring) refilled(keys int, loaded []int) (lost loss, err error) {
	if len(k.stored) > 0 {
		if lost, err = k.lost(loaded); err != nil {
			return lost, err
		}
	}
	k.used = 0
	for i := len(k.stored); i < storedFor(keys); i++ {
		k.stored = append(k.stored, keyOf(i))
	}
	return lost, nil
}

// lost is an error unless each process has lost what was used, and nothing else but by chance: so it is certain that what was
// measured has done its work.
func (k *keyring) lost(loaded []int) (loss, error) {
	all := loss{Invalidated: int64(k.used)}
	for _, n := range loaded {
		besides := n - k.used
		if besides < 0 || besides > k.maxBesides() {
			return all, fmt.Errorf("a process had lost %d of %d values, want %d and at most %d more", n, len(k.stored), k.used, k.maxBesides())
		}
		all.Besides += int64(besides)
	}
	return all, nil
}

// maxBesides returns how many values more than what was used can hardly be lost by chance.
func (k *keyring) maxBesides() int {
	if k.classes == 0 {
		return 0
	}
	return 10 + 4*k.used*(len(k.stored)-k.used)/k.classes
}

// refill has keys stored in the leader's own otter and, by ask, in the peers' as well. ask asks each with a question for
// onFill, and hands on the answers.
func (k *keyring) refill(own *otter.Cache[string, int64], keys int, ask func(question string, answered func(string) error) error) (loss, error) {
	loaded := []int{fillOtter(own, storedFor(keys))}
	if err := ask(strconv.Itoa(storedFor(keys)), func(answer string) error {
		n, err := strconv.Atoi(answer)
		loaded = append(loaded, n)
		return err
	}); err != nil {
		return loss{}, err
	}
	return k.refilled(keys, loaded)
}

// preparer is a leader whose fan-outs are of values that are stored everywhere. prepare stores so many and more, and returns
// what was lost since the last time.
type preparer interface {
	prepare(keys int) (loss, error)
}

// cacheLeader is a leader on the bus, whose fan-out is an Invalidate.
type cacheLeader struct {
	*busLeader
	node *cacheNode
	keys keyring
}

var (
	_ preparer = (*cacheLeader)(nil)
	_ preparer = (*natsCacheLeader)(nil)
)

func leadCache(ctx context.Context, p player) (leader, error) {
	b, err := newBusLeader(ctx, p)
	if err != nil {
		return nil, err
	}
	n, err := addCache(p, b.busNode)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	l := &cacheLeader{busLeader: b, node: n, keys: keyring{classes: classesEach * maxEntries}}
	return l, l.awaitServing()
}

// awaitServing returns when all processes store what they load.
func (l *cacheLeader) awaitServing() error {
	for end := time.Now().Add(patience); ; {
		if _, err := l.fillAll(1); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (l *cacheLeader) fanOut() error {
	key, err := l.keys.next()
	if err != nil {
		return err
	}
	return l.node.cache.Invalidate(l.ctx, key)
}

func (l *cacheLeader) prepare(keys int) (loss, error) {
	loaded, err := l.fillAll(storedFor(keys))
	if err != nil {
		return loss{}, err
	}
	return l.keys.refilled(keys, loaded)
}

func (l *cacheLeader) fillAll(keys int) (loaded []int, err error) {
	own, err := l.node.fill(l.ctx, keys)
	if err != nil {
		return nil, err
	}
	answers, err := l.RequestAll(l.ctx, topicFill, strconv.AppendInt(nil, int64(keys), 10))
	if err != nil {
		return nil, err
	}
	loaded = append(loaded, own)
	for _, a := range answers {
		n, err := strconv.Atoi(string(a.Data))
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, n)
	}
	if len(loaded) != l.peers+1 {
		return nil, fmt.Errorf("%d processes have the cache, want %d", len(loaded), l.peers+1)
	}
	return loaded, nil
}

func (l *cacheLeader) Close() error { return l.node.Close() }
