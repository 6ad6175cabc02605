package roles

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
)

// maxEntries is how many values any of the caches holds, more than there are keys.
const maxEntries = 1 << 20

func keyOf(i int) string { return strconv.Itoa(i) }

// keysTo returns the first n keys.
func keysTo(n int) (keys []string) {
	for i := range n {
		keys = append(keys, keyOf(i))
	}
	return keys
}

// keyring has the keys of what all processes have stored. At most half of them are invalidated, each once; the others must stay.
type keyring struct {
	stored  []string
	used    int
	classes int // of keys: what is in one class is lost together; 0: each is by itself
}

// Loss is what the processes have lost since they have stored all. Each has lost what was invalidated.
type Loss struct {
	Invalidated int64
	Besides     int64 // of all processes together
	Processes   int
}

// minInvalidation is less than a message to all and their answers take.
const minInvalidation = 20 * time.Microsecond

// KeysFor returns how many keys those who send messages cannot use up in a time. Who needs none has used them up before.
func KeysFor(d time.Duration) (int, error) {
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
func (k *keyring) refilled(keys int, loaded []int) (lost Loss, err error) {
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
func (k *keyring) lost(loaded []int) (Loss, error) {
	all := Loss{Invalidated: int64(k.used), Processes: len(loaded)}
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

// filler has the first so many keys stored, and returns how many were not.
type filler func(keys int) (loaded int, err error)

// answer takes the number of keys as text, and so it returns how many were not stored.
func (fill filler) answer(question []byte) ([]byte, error) {
	keys, err := strconv.Atoi(string(question))
	if err != nil {
		return nil, err
	}
	loaded, err := fill(keys)
	return strconv.AppendInt(nil, int64(loaded), 10), err
}

// asker asks all peers, and has each answer checked.
type asker func(topic string, question []byte, check func(answer []byte) error) error

// invalidations are the actions of a leader whose fan-outs are of keys that are stored everywhere. Its own values are stored by
// fill, those of the peers by their answers on topicFill.
func (k *keyring) invalidations(fill filler, ask asker, invalidate func(key string) error) actions {
	return actions{
		FanOuts: func(o Order) (Result, error) {
			return o.repeat(func() error {
				key, err := k.next()
				if err != nil {
					return err
				}
				return invalidate(key)
			})
		},
		Prepare: func(o Order) (r Result, err error) {
			loaded, err := fillAll(storedFor(o.Keys), fill, ask)
			if err == nil {
				r.Lost, err = k.refilled(o.Keys, loaded)
			}
			return r, err
		},
	}
}

// fillAll has keys stored in all processes, and returns how many were not in each.
func fillAll(keys int, fill filler, ask asker) (loaded []int, err error) {
	own, err := fill(keys)
	if err != nil {
		return nil, err
	}
	loaded = append(loaded, own)
	return loaded, ask(topicFill, []byte(strconv.Itoa(keys)), func(answer []byte) error {
		n, err := strconv.Atoi(string(answer))
		loaded = append(loaded, n)
		return err
	})
}

// otterCache is a process's own cache, whose keys others drop by the messages of a broker.
type otterCache struct{ *otter.Cache[string, int64] }

func newOtterCache() otterCache {
	return otterCache{otter.Must(&otter.Options[string, int64]{MaximumSize: maxEntries})}
}

func (c otterCache) fill(keys int) (loaded int, err error) {
	for i := range keys {
		if _, stored := c.SetIfAbsent(keyOf(i), int64(i)); stored {
			loaded++
		}
	}
	return loaded, nil
}

// answer is a peer's: it drops a key, or fills its cache.
func (c otterCache) answer(topic string, question []byte) ([]byte, error) {
	if topic == topicFill {
		return filler(c.fill).answer(question)
	}
	c.Invalidate(string(question))
	return question, nil
}

// leadOtter has a leader drop the key of its own cache and ask the peers to do the same.
func leadOtter(ask asker) actions {
	c, keys := newOtterCache(), new(keyring)
	return keys.invalidations(c.fill, ask, func(key string) error {
		c.Invalidate(key)
		return ask(topicAll, []byte(key), func(answer []byte) error {
			if string(answer) != key {
				return errors.New("an answer with another key")
			}
			return nil
		})
	})
}
