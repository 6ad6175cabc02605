// Package roles is what the processes do that package cost measures, each in its system: to serve, to exchange messages, to
// invalidate, to join, or to load a catalogue.
package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// PlayerRole is the role of this program whose task is a Player.
const PlayerRole = "cost player"

// All returns what this program runs in it.
func All() map[string]func() error { return map[string]func() error{PlayerRole: child.Role(runPlayer)} }

const patience = child.Patience

// Player is the job of a process of a team.
type Player struct {
	System     string
	Dir        string // for sockets
	ID         int    // 0 is the leader, which sends
	Peers      int    // how many there are with the ids from 1 on; one with a higher id comes later
	Server     string // address of the team's server, if its system has one
	GOMAXPROCS int    // 0 leaves it to the Go runtime
}

// In returns the same player in each of some systems.
func (p Player) In(systems ...string) (all []Player) {
	for _, p.System = range systems {
		all = append(all, p)
	}
	return all
}

// Names of the systems that are compared.
const (
	Raw        = "raw"
	RawReaders = "raw, a reader each"
	RawBatches = "raw, 64 to a write"
	Framing    = "framing"
	Bus        = "bus"
	NATS       = "NATS"
	Cache      = "cache"
	// CacheMessages is the cache without shared memory.
	CacheMessages = "cache, messages"
	NATSCached    = "NATS, a cache each"
	RedisCached   = "Redis, a cache each"

	// Shop and ShopNoCache have a program as their server, and a leader that loads it.
	Shop        = "catalog"
	ShopNoCache = "catalog, no cache"

	// Trivial, Hello and Mesh have no leader.
	Trivial = "trivial" // a process that does nothing
	Hello   = "hello"   // what one writes without a library: a connection, and the id there and back
	Mesh    = "mesh"

	// Plain and Cluster are servers only: one process of net/http, and a cluster of as many nodes as there are Peers.
	Plain   = "net/http"
	Cluster = "cluster"
)

// systems are what a player becomes. Those of the others are ready when the leader may come, and the leader when all answer.
var systems = map[string]func(context.Context, Player) (actor, error){
	Raw:           exchanging(serveRaw, dialRaw),
	RawReaders:    exchanging(serveRaw, dialReaders),
	RawBatches:    exchanging(serveRaw, dialBatches),
	Framing:       exchanging(serveFramed, dialFramed),
	Bus:           becomeBus,
	NATS:          exchanging(serveNATS, dialNATS),
	Cache:         becomeCache,
	CacheMessages: becomeCache,
	NATSCached:    caching(serveNATS, dialNATS),
	RedisCached:   caching(serveRedis, dialRedis),
	Shop:          becomeShopper,
	ShopNoCache:   becomeShopper,
	Trivial:       becomeTrivial,
	Hello:         becomeHello,
	Mesh:          becomeMesh,
}

// actor is what a process has become.
type actor struct {
	can   actions
	close func() error // nil: the end of the process ends all
}

// actions are what an actor can do, by the name of the order. They are called one at a time.
type actions map[string]func(Order) (Result, error)

// runPlayer carries out orders, one line of JSON each, and answers each with a result. It ends when its standard input does.
func runPlayer(p Player) error {
	if serve, ok := servers[p.System]; ok {
		return serve(p)
	}
	become, ok := systems[p.System]
	if !ok {
		return fmt.Errorf("no system %q", p.System)
	}
	ctx, cancel := context.WithCancel(context.Background()) // can be cancelled, as that of most programs
	defer cancel()
	a, err := become(ctx, p)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if err := a.obey(); err != nil {
		return fmt.Errorf("%s: %w", p.System, err)
	}
	if a.close == nil {
		return nil
	}
	return a.close()
}

func (a actor) obey() error {
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o Order
		err := orders.Decode(&o)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		do, ok := a.can[o.Do]
		if !ok {
			return fmt.Errorf("cannot do %q", o.Do)
		}
		r, err := do(o)
		if err != nil {
			return fmt.Errorf("%s: %w", o.Do, err)
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
}
