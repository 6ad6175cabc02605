package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
)

// team is the processes of one system, in a directory of their own, which end together: a server if it has one, the peers, and
// a leader, if there is one.
type team struct {
	roles.Player
	server *child.Process
	end    os.Signal // of the server; nil: it ends with its standard input
	peers  []*child.Process
	leader *child.Process
	pids   []int        // of all whose CPU time counts
	start  roles.Result // what it took
}

// startTeam returns when all processes are there, and the leader can be told what to do.
func (c config) startTeam(ctx context.Context, p roles.Player) (*team, error) {
	var err error
	if p.Dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	t := &team{Player: p}
	if err := t.begin(ctx, c.programs); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", p.System, err), t.stop())
	}
	return t, nil
}

func (t *team) begin(ctx context.Context, programs string) (err error) {
	if err := t.startServer(programs); err != nil {
		return err
	}
	switch t.System {
	case roles.Plain, roles.Cluster:
		return nil
	case roles.Trivial, roles.Hello, roles.Mesh:
		return t.gather(ctx)
	}
	if err := t.addPeers(ctx); err != nil {
		return err
	}
	isLoad := t.System == roles.Shop || t.System == roles.ShopNoCache // and does not count
	if t.leader, err = t.player(ctx, 0); err == nil && !isLoad {
		t.pids = append(t.pids, t.leader.PID())
	}
	return err
}

// player starts this program as a player, and returns when it is ready.
func (t *team) player(ctx context.Context, id int) (*child.Process, error) {
	task := t.Player
	task.ID = id
	cmd, err := child.Command(context.WithoutCancel(ctx), roles.PlayerRole, task)
	if err != nil {
		return nil, err
	}
	child.SetGOMAXPROCS(cmd, t.GOMAXPROCS)
	p, err := child.Start(fmt.Sprintf("process %d of %s", id, t.System), cmd)
	if err != nil {
		return nil, err
	}
	if _, err := p.Line(0, "ready"); err != nil {
		return nil, errors.Join(err, p.Stop(nil))
	}
	return p, nil
}

// addPeers starts them with the ids from 1 on, at once.
func (t *team) addPeers(ctx context.Context) error {
	started := make([]*child.Process, t.Peers)
	var starting errgroup.Group
	for i := range started {
		starting.Go(func() (err error) {
			started[i], err = t.player(ctx, i+1)
			return err
		})
	}
	err := starting.Wait()
	t.peers = slices.DeleteFunc(started, func(p *child.Process) bool { return p == nil })
	for _, p := range t.peers {
		t.pids = append(t.pids, p.PID())
	}
	return err
}

func (t *team) stop() (err error) {
	if t.leader != nil {
		err = t.leader.Stop(nil)
	}
	for _, p := range slices.Backward(t.peers) {
		err = errors.Join(err, p.Stop(nil))
	}
	if t.server != nil {
		if failed := t.server.Stop(t.end); failed != nil {
			err = errors.Join(err, failed, errors.New(child.LogEnd(t.log(), 4<<10)))
		}
	}
	return errors.Join(err, os.RemoveAll(t.Dir))
}

// log is where the server writes its standard error.
func (t *team) log() string { return filepath.Join(t.Dir, "log") }

// tell has players do something at the same time, and returns what came of it.
func tell(players []*child.Process, o roles.Order) (all []roles.Result, err error) {
	for _, p := range players {
		if err := p.Tell(o); err != nil {
			return nil, err
		}
	}
	for _, p := range players {
		answer, err := p.Line(o.Warm+o.Duration, "")
		if err != nil {
			return nil, err
		}
		var r roles.Result
		if err := json.Unmarshal([]byte(answer), &r); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// all are the peers and the leader.
func (t *team) all() []*child.Process { return append(slices.Clip(t.peers), t.leader) }

// ask has the leader do something, or all, who read and write at the same time.
func (t *team) ask(o roles.Order) (r roles.Result, err error) {
	before := proc.CPU(t.pids...)
	var all []roles.Result
	if o.Do == roles.ReadHits {
		all, err = tell(t.all(), o)
		r = roles.Merged(all)
	} else if all, err = tell([]*child.Process{t.leader}, o); err == nil {
		r = all[0]
	}
	r.CPU = proc.CPU(t.pids...) - before
	return r, err
}

// does has a team carry out an order in each round. Where that is about values in a cache, all processes store them before, and tell
// afterwards what they have lost.
func (t *team) does(o roles.Order) measureFunc {
	fill := roles.Order{Do: roles.Fill, Keys: roles.Stored(t.System, o)}
	return func(context.Context) (r roles.Result, err error) {
		if fill.Keys == 0 {
			return t.ask(o)
		}
		if _, err := tell(t.all(), fill); err != nil {
			return r, err
		}
		if r, err = t.ask(o); err != nil || o.Keys == 0 {
			return r, err
		}
		filled, err := tell(t.all(), fill)
		if err == nil {
			r.Lost, err = roles.Lost(t.System, int(r.Requests+r.Uncounted), fill.Keys, filled)
		}
		return r, err
	}
}

// gather starts all at once. Both times of the start count from that of the first, until the last has come so far; only the nodes of a
// mesh join each other.
func (t *team) gather(ctx context.Context) error {
	zero := load.Now()
	if err := t.addPeers(ctx); err != nil {
		return err
	}
	o := roles.Order{Do: roles.Joined}
	if t.System == roles.Mesh {
		o.Peers = t.Peers - 1
	}
	all, err := tell(t.peers, o)
	for _, r := range all {
		t.start.Began = max(t.start.Began, r.Began-zero)
		t.start.Elapsed = max(t.start.Elapsed, r.Elapsed-zero)
	}
	return err
}

// join has one more join those that were gathered, which has gone again when join returns.
func (t *team) join(ctx context.Context, id int) (took time.Duration, err error) {
	p, err := t.player(ctx, id)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err = errors.Join(err, p.Stop(nil)); err == nil {
			_, err = tell(t.peers, roles.Order{Do: roles.Left, Peers: 1})
		}
	}()
	own, err := tell([]*child.Process{p}, roles.Order{Do: roles.Joined, Peers: t.Peers})
	if err != nil {
		return 0, err
	}
	others, err := tell(t.peers, roles.Order{Do: roles.Joined, Peers: 1})
	for _, r := range append(others, own...) {
		took = max(took, r.Elapsed-own[0].Began)
	}
	return took, err
}
