package invalidate

import (
	"sync/atomic"

	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// remote applies the changes of other processes to the store.
type remote[K comparable, V any] struct {
	*versioned.Store[K, V]
	codec   Codec[K]
	inDoubt *inDoubt[K]
	applied atomic.Uint64
}

var _ target = (*remote[int, int])(nil)

// doubt takes over one block of each key.
func (r *remote[K, V]) doubt(keys []string) {
	parsed := make([]K, 0, len(keys))
	for _, data := range keys {
		if key, err := r.codec.Parse([]byte(data)); err == nil { // parsing has succeeded at its begin
			parsed = append(parsed, key)
		}
	}
	r.inDoubt.add(parsed)
}

func (r *remote[K, V]) apply(o wire.Op, data []byte) error {
	r.applied.Add(1)
	switch o {
	case wire.OpTag:
		r.DropTag(string(data))
		return nil
	case wire.OpAll:
		r.DropAll()
		return nil
	default:
		return r.applyKey(o, data)
	}
}

func (r *remote[K, V]) applyKey(o wire.Op, data []byte) error {
	key, err := r.codec.Parse(data)
	if err != nil {
		return err
	}
	switch o {
	case wire.OpBegin:
		r.Block(key)
	case wire.OpEnd:
		r.Release(key)
	default:
		r.Drop(key)
	}
	return nil
}
