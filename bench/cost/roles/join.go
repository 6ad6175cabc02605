package roles

import (
	"context"
	"time"

	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/peer"
)

// guestbook has the times at which others have joined this process, and have left. Nobody waits to write in it.
type guestbook struct {
	began        time.Duration
	joined, left chan time.Duration
}

// openGuestbook is called when a process begins.
func openGuestbook() *guestbook {
	const pages = 1 << 10
	return &guestbook{load.Now(), make(chan time.Duration, pages), make(chan time.Duration, pages)}
}

// actions wait for the next so many to join, or to leave, and tell when the last has.
func (g *guestbook) actions() actions {
	read := func(times <-chan time.Duration) func(Order) (Result, error) {
		return func(o Order) (Result, error) {
			r := Result{Began: g.began}
			for range o.Peers {
				r.Elapsed = max(r.Elapsed, <-times)
			}
			return r, nil
		}
	}
	return actions{Joined: read(g.joined), Left: read(g.left)}
}

func becomeTrivial(context.Context, Player) (actor, error) {
	return actor{can: openGuestbook().actions()}, nil
}

// becomeMesh joins as a node of a cluster does.
func becomeMesh(ctx context.Context, p Player) (actor, error) {
	g := openGuestbook()
	mesh, err := joinMesh(ctx, p.Dir, p.ID)
	if err != nil {
		return actor{}, err
	}
	mesh.OnEvent(func(e peer.Event) {
		switch e.Type {
		case peer.Joined:
			g.joined <- load.Now()
		case peer.Left:
			g.left <- load.Now()
		}
	})
	return actor{g.actions(), mesh.Close}, nil
}

// becomeHello says hello to those who were there before, and has it back from each.
func becomeHello(ctx context.Context, p Player) (actor, error) {
	g := openGuestbook()
	a := actor{can: g.actions()}
	a.can[Left] = func(Order) (Result, error) { return Result{}, nil } // who comes later has other connections
	if p.ID <= p.Peers {
		return a, serveRaw(ctx, p, func(_ string, hello []byte) ([]byte, error) {
			g.joined <- load.Now()
			return hello, nil
		})
	}
	to, err := dialRaw(ctx, p)
	if err != nil {
		return a, err
	}
	return a, to.ask(topicAll, message(forAnswer), func([]byte) error {
		g.joined <- load.Now()
		return nil
	})
}
