package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
)

// team is the processes of one system: a leader, its peers, and a broker if the system has one.
type team struct {
	system     string
	dir        string
	gomaxprocs int
	leader     *child.Process
	peers      []*child.Process
	broker     *child.Process // nil: none
	results    []result
}

// startTeam returns when the leader can be told what to do.
func (c config) startTeam(p player, gomaxprocs int) (*team, error) {
	t := &team{system: p.System, gomaxprocs: gomaxprocs}
	if err := t.start(p, c.natsd); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", p.System, err), t.stop())
	}
	return t, nil
}

func (t *team) start(p player, natsd string) (err error) {
	if t.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	p.Dir = t.dir
	switch t.rival() {
	case natsName:
		p.Broker, err = t.startNATS(natsd)
	case redisName:
		p.Broker, err = t.startRedis()
	}
	if err != nil {
		return err
	}
	if err := t.startPeers(p); err != nil {
		return err
	}
	if t.leader, err = t.startPlayer(p); err != nil {
		return err
	}
	_, err = t.leader.Line(0, "ready")
	return err
}

// startBroker starts a foreign program.
func (t *team) startBroker(program string, args ...string) (err error) {
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Stderr = os.Stderr
	child.SetGOMAXPROCS(cmd, t.gomaxprocs)
	t.broker, err = child.Start("broker of "+t.system, cmd)
	return err
}

// startNATS returns the address of the broker.
func (t *team) startNATS(program string) (addr string, err error) {
	if err := t.startBroker(program); err != nil {
		return "", err
	}
	return t.broker.Line(0, "ready ")
}

func (t *team) startPeers(p player) error {
	for p.ID = 1; p.ID <= p.Peers; p.ID++ {
		peer, err := t.startPlayer(p)
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
	return nil
}

func (t *team) startPlayer(p player) (*child.Process, error) {
	return startRole(fmt.Sprintf("process %d of %s", p.ID, p.System), playerRole, p, t.gomaxprocs)
}

// startRole starts this program in a role.
func startRole(name, role string, task any, gomaxprocs int) (*child.Process, error) {
	cmd, err := child.Command(context.Background(), role, task)
	if err != nil {
		return nil, err
	}
	child.SetGOMAXPROCS(cmd, gomaxprocs)
	return child.Start(name, cmd)
}

// processes returns all of them, in the order in which they have to end.
func (t *team) processes() []*child.Process {
	all := slices.Concat([]*child.Process{t.leader}, t.peers, []*child.Process{t.broker})
	return slices.DeleteFunc(all, func(p *child.Process) bool { return p == nil })
}

func (t *team) stop() (err error) {
	for _, p := range t.processes() {
		err = errors.Join(err, p.Stop(t.order(p)))
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

// order is the signal that ends a process, nil if the end of its standard input does.
func (t *team) order(p *child.Process) os.Signal {
	if p == t.broker && t.rival() == redisName {
		return syscall.SIGTERM
	}
	return nil
}

func stopTeams(teams []*team) (err error) {
	for _, t := range teams {
		err = errors.Join(err, t.stop())
	}
	return err
}

// ask has the leader do something, and returns what came of it.
func (t *team) ask(o order) (r result, err error) {
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

func (t *team) cpu() time.Duration {
	var pids []int
	for _, p := range t.processes() {
		pids = append(pids, p.PID())
	}
	return proc.CPU(pids...)
}

// contest asks each team in turn, in changing order, after a round that does not count.
func contest(ctx context.Context, rounds int, teams []*team, o order) error {
	for _, t := range teams {
		t.results = nil
	}
	for round := range rounds + 1 {
		for _, t := range turns(teams, round) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r, err := t.turn(o)
			if err != nil {
				return err
			}
			if round > 0 {
				t.results = append(t.results, r)
			}
		}
	}
	return nil
}

// turn asks once. A team that has keys has them stored before, and shows afterwards what it has lost.
func (t *team) turn(o order) (result, error) {
	if o.Keys == 0 {
		return t.ask(o)
	}
	fill := order{Do: prepare, Keys: o.Keys}
	if _, err := t.ask(fill); err != nil {
		return result{}, err
	}
	r, err := t.ask(o)
	if err != nil {
		return r, err
	}
	filled, err := t.ask(fill)
	r.Lost = filled.Lost
	return r, err
}

// turns changes who begins, and who comes after whom.
func turns[T any](all []T, round int) []T {
	first := round / 2 % len(all)
	order := slices.Concat(all[first:], all[:first])
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// figures returns a figure of each round.
func (t *team) figures(figure func(result) float64) []float64 {
	var values []float64
	for _, r := range t.results {
		values = append(values, figure(r))
	}
	return values
}

// ratios returns t's figure by that of another team, round by round.
func (t *team) ratios(to *team, figure func(result) float64) []float64 {
	values := t.figures(figure)
	for i, base := range to.figures(figure) {
		values[i] /= base
	}
	return values
}

func isRaw(t *team) bool { return strings.HasPrefix(t.system, raw) }

// rival returns the name of the team's broker, if it has one.
func (t *team) rival() string {
	for _, name := range []string{natsName, redisName} {
		if strings.HasPrefix(t.system, name) {
			return name
		}
	}
	return ""
}
