package invalidate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// failedPicture is where the picture of a history is kept that cannot be.
const failedPicture = "linear-failed.html"

const (
	linearKeys    = 3
	linearClients = 6
	linearOps     = 25
)

// registerOp is a Get, or an Update that writes a value.
type registerOp struct {
	write bool
	key   int
	value int64
}

// register is a row as a database has it. All that is read and written between the begin and the end of a call could have
// happened at one moment in between: so it is with Update, which is more than Invalidate promises.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make([][]porcupine.Operation, linearKeys)
		for _, op := range history {
			key := op.Input.(registerOp).key
			byKey[key] = append(byKey[key], op)
		}
		return byKey
	},
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		if op := input.(registerOp); op.write {
			return true, op.value
		}
		return output == state, state
	},
	DescribeOperation: func(input, output any) string {
		op := input.(registerOp)
		if op.write {
			return fmt.Sprintf("update(%d, %d)", op.key, op.value)
		}
		return fmt.Sprintf("get(%d) -> %d", op.key, output)
	},
}

// history lets clients read and write through caches of several nodes, and returns what they saw.
func history(t *testing.T, w way) []porcupine.Operation {
	t.Helper()
	nodes := meshOf(t, 3)
	var rows [linearKeys]atomic.Int64
	caches := make([]*Cache[int, int64], len(nodes))
	for i, n := range nodes {
		opts := Options[int, int64]{Lease: 500 * time.Millisecond}
		caches[i] = cacheOf(t, n.Bus, opts.in(w, i), func(_ context.Context, key int) (int64, error) {
			v := rows[key].Load()
			time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
			return v, nil
		})
	}
	awaitServing(t, caches...)
	var mu sync.Mutex
	var ops []porcupine.Operation
	var clients sync.WaitGroup
	var values atomic.Int64
	for client := range linearClients {
		clients.Go(func() {
			for i := range linearOps {
				if client == 0 && i%8 == 7 {
					p := nodes[i%3].mesh
					inside.Of(p).Cut(p.Peers()[0], "test")
				}
				op := registerOp{write: rand.IntN(4) == 0, key: rand.IntN(linearKeys), value: values.Add(1)}
				done, ok := op.do(t, client, caches[rand.IntN(len(caches))], &rows[op.key])
				mu.Lock()
				if ok {
					ops = append(ops, done)
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return ops
}

// do returns the operation, and false if it did not take place.
func (op registerOp) do(t *testing.T, client int, c *Cache[int, int64], row *atomic.Int64) (porcupine.Operation, bool) {
	t.Helper()
	done := porcupine.Operation{ClientId: client, Input: op, Call: clock.Now()}
	if !op.write {
		v, err := c.Get(context.Background(), op.key)
		done.Output, done.Return = v, clock.Now()
		return done, assert.NoError(t, err)
	}
	err := c.Update(context.Background(), []int{op.key}, func(context.Context) error {
		row.Store(op.value)
		return nil
	})
	done.Return = clock.Now()
	unconfirmed, failed := errors.AsType[*UnconfirmedError](err)
	assert.True(t, err == nil || failed, "%v", err)
	return done, !failed || !unconfirmed.NotCommitted
}

func TestLinearizable(t *testing.T) {
	t.Parallel()
	eachWay(t, linearizable)
}

func linearizable(t *testing.T, w way) {
	t.Helper()
	for range 4 {
		ops := history(t, w)
		result, info := porcupine.CheckOperationsVerbose(register, ops, patient)
		if result == porcupine.Ok {
			continue
		}
		path, err := filepath.Abs(failedPicture)
		require.NoError(t, err)
		require.NoError(t, porcupine.VisualizePath(register, info, path))
		require.Failf(t, "not linearizable", "%v; see %s", result, path)
	}
}
