package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
)

// group is processes in one directory, which end together.
type group struct {
	dir        string
	gomaxprocs int
	processes  []*child.Process             // in the order in which they were started; the last one ends first
	signals    map[*child.Process]os.Signal // which end those that don't end with their standard input
}

func newGroup(gomaxprocs int) (*group, error) {
	dir, err := os.MkdirTemp("", "bench")
	return &group{dir: dir, gomaxprocs: gomaxprocs}, err
}

// command starts a command.
func (g *group) command(name string, cmd *exec.Cmd) (*child.Process, error) {
	child.SetGOMAXPROCS(cmd, g.gomaxprocs)
	p, err := child.Start(name, cmd)
	if err == nil {
		g.processes = append(g.processes, p)
	}
	return p, err
}

// player starts this program as a player, who is not in the group.
func (g *group) player(p roles.Player) (*child.Process, error) {
	p.Dir = g.dir
	cmd, err := child.Command(context.Background(), roles.PlayerRole, p)
	if err != nil {
		return nil, err
	}
	child.SetGOMAXPROCS(cmd, g.gomaxprocs)
	return child.Start(fmt.Sprintf("process %d of %s", p.ID, p.System), cmd)
}

// add starts a player of the group.
func (g *group) add(p roles.Player) (*child.Process, error) {
	started, err := g.player(p)
	if err == nil {
		g.processes = append(g.processes, started)
	}
	return started, err
}

// addAll starts n players with the ids from 1 on, at once.
func (g *group) addAll(n int, p roles.Player) error {
	started, failures := make([]*child.Process, n), make([]error, n)
	var starting sync.WaitGroup
	for i := range n {
		starting.Go(func() {
			p := p
			p.ID = i + 1
			started[i], failures[i] = g.player(p)
		})
	}
	starting.Wait()
	g.processes = append(g.processes, slices.DeleteFunc(started, func(p *child.Process) bool { return p == nil })...)
	return errors.Join(failures...)
}

func (g *group) stop() (err error) {
	for _, p := range slices.Backward(g.processes) {
		err = errors.Join(err, p.Stop(g.signals[p]))
	}
	return errors.Join(err, os.RemoveAll(g.dir))
}

func (g *group) cpu() time.Duration {
	var pids []int
	for _, p := range g.processes {
		pids = append(pids, p.PID())
	}
	return proc.CPU(pids...)
}

// team is the processes of one system: a broker if the system has one, the peers, and the leader.
type team struct {
	*group
	leader *child.Process
	peers  []*child.Process
}

// startTeam returns when the leader can be told what to do.
func (c config) startTeam(p roles.Player, gomaxprocs int) (*team, error) {
	g, err := newGroup(gomaxprocs)
	if err != nil {
		return nil, err
	}
	t := &team{group: g}
	if err := t.start(p, c.natsd); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", p.System, err), t.stop())
	}
	return t, nil
}

func (t *team) start(p roles.Player, natsd string) (err error) {
	if p.Broker, err = t.startBroker(brokerOf(p.System), natsd); err != nil {
		return err
	}
	for p.ID = 1; p.ID <= p.Peers; p.ID++ {
		peer, err := t.add(p)
		if err != nil {
			return err
		}
		t.peers = append(t.peers, peer)
	}
	for _, peer := range t.peers {
		if _, err := peer.Line(0, "ready"); err != nil {
			return err
		}
	}
	p.ID = 0
	if t.leader, err = t.add(p); err != nil {
		return err
	}
	_, err = t.leader.Line(0, "ready")
	return err
}

// withTeams has a team for each leader while do runs.
func (c config) withTeams(gomaxprocs int, leaders []roles.Player, do func([]*team) error) (err error) {
	var teams []*team
	defer func() {
		for _, t := range teams {
			err = errors.Join(err, t.stop())
		}
	}()
	for _, p := range leaders {
		t, err := c.startTeam(p, gomaxprocs)
		if err != nil {
			return err
		}
		teams = append(teams, t)
	}
	return do(teams)
}

// does has a team do the same in each round.
func (t *team) does(name string, o roles.Order) *contestant {
	return &contestant{name: name, measure: func(context.Context) (roles.Result, error) { return t.turn(o) }}
}

// ask has the leader do something, and returns what came of it.
func (t *team) ask(o roles.Order) (r roles.Result, err error) {
	before := t.cpu()
	if err := t.leader.Tell(o); err != nil {
		return r, err
	}
	answer, err := t.leader.Line(o.Warm+o.Duration, "")
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		return r, err
	}
	r.CPU = t.cpu() - before
	return r, nil
}

// turn asks once. A team that has keys has them stored before, and shows afterwards what it has lost.
func (t *team) turn(o roles.Order) (roles.Result, error) {
	if o.Keys == 0 {
		return t.ask(o)
	}
	fill := roles.Order{Do: roles.Prepare, Keys: o.Keys}
	if _, err := t.ask(fill); err != nil {
		return roles.Result{}, err
	}
	r, err := t.ask(o)
	if err != nil {
		return r, err
	}
	filled, err := t.ask(fill)
	r.Lost = filled.Lost
	return r, err
}
