package steering

import (
	"context"
	"errors"
	"os"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/sightings"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// reconciler makes the map of a group agree with the kernel's list of listeners, and steers by it.
type reconciler struct {
	port
	env *environment

	turn // the fields below belong to the goroutine that has it, except shown
	program
	obstacle  string // why the level is not the best that this kernel has; "": it is
	strangers strangers
	replicas  replicas
	answers   bool   // the kernel has answered probes since the program was last known to be ours
	complaint string // the last
	shown     shown
}

func newReconciler(key portgroup.Key, address string, env *environment) *reconciler {
	r := &reconciler{port: port{env.kernel, key, address}, env: env, turn: newTurn(address, env.ctx.Done())}
	nodes := portgroup.New[*agent]()
	r.program = program{port: &r.port, nodes: nodes, agents: env.agents, level: env.level, sentinel: sentinel{port: &r.port, nodes: nodes}}
	r.strangers = strangers{r.turn, &r.port, nodes, env, make(map[*member]*sightings.Sighting)}
	r.replicas = replicas{program: &r.program, env: env}
	return r
}

// probe returns a probe of the group.
func (r *reconciler) probe(conn kernel.ProbeConn) *probe {
	return &probe{ProbeConn: conn, port: &r.port, env: r.env}
}

// review settles, in a turn of its own. It returns whether new connections go where they are meant to.
func (r *reconciler) review(ctx context.Context) bool {
	if r.take(ctx) != nil {
		return false
	}
	defer r.give()
	return r.settle(ctx) == nil && r.certain()
}

// doubt says that the order may be wrong, and that a node that is excluded may have got connections.
func (r *reconciler) doubt() {
	r.nodes.Doubt()
	r.sentinel.member = nil // which program is attached is not known
}

// settle makes the map agree with the kernel's list of listeners, and steers accordingly. It asks nothing, so that
// there may be holes in the map: these get no connections while most is known, and else the hash decides.
func (r *reconciler) settle(ctx context.Context) error {
	listed, err := r.listed(ctx)
	if err != nil {
		r.env.logger.Warn("the listeners of the port cannot be listed: the kernel's hash decides",
			"address", r.address, "error", err)
		r.doubt()
	} else {
		r.reconcile(ctx, listed)
	}
	err = errline.Join(err, r.publish(ctx))
	r.complain(ctx, &r.complaint, err)
	r.replicas.renew()
	r.noteStatus()
	return err
}

// certain reports whether the order of the members is known, where the level needs it.
func (r *reconciler) certain() bool { return r.level < reuseport.RungBPF || r.nodes.IsCertain() }

// complain logs that connections cannot be steered, once for each reason: last holds the previous one.
func (r *reconciler) complain(ctx context.Context, last *string, err error) {
	if ctx.Err() != nil || err != nil && r.env.program != nil && r.isPassing(err) {
		return
	}
	var complaint string
	if err != nil {
		complaint = err.Error()
	}
	if complaint != "" && complaint != *last {
		r.env.logger.Warn("connections cannot be steered: the kernel's hash decides", "address", r.address, "error", err)
	}
	*last = complaint
}

// isPassing reports whether the listeners of a program cannot be steered only because they appear or vanish right now. A lasting
// reason is an obstacle.
func (r *reconciler) isPassing(err error) bool {
	return errors.Is(err, protocol.ErrUnlinked) || errors.Is(err, os.ErrNotExist) || len(r.callable()) == 0
}

// reconcile makes the members agree with the kernel's list.
func (r *reconciler) reconcile(ctx context.Context, listed []uint32) {
	gone := r.nodes.Look(listed)
	r.strangers.gone(gone)
	if len(gone) > 0 {
		r.wake(ctx)
	}
}

// hasUnknown reports whether the kernel lists a listener that is no member.
func (r *reconciler) hasUnknown(ctx context.Context) bool {
	unknown, err := r.hasListener(ctx, func(l reuseport.Listener) bool { return r.nodes.ByInode(l.Inode) == nil })
	return err == nil && unknown
}

// consider chooses how the group is steered: not at all while one of its members cannot be. The log says so once.
func (r *reconciler) consider() {
	before := r.obstacle
	r.level, r.obstacle = r.env.level, ""
	for _, m := range r.nodes.Members() {
		if m.Node != nil && m.Node.obstacle != "" {
			r.level, r.obstacle = reuseport.RungHash, m.Node.obstacle
		}
	}
	if r.obstacle != "" && r.obstacle != before {
		r.env.logger.Warn("connections cannot be steered: the kernel's hash decides", "address", r.address, "reason", r.obstacle)
	}
}

// wake makes all members accept once, on kernels that move the queue of a closed listener to another one and do not wake its
// process.
func (r *reconciler) wake(ctx context.Context) {
	if r.level != reuseport.RungBPFMigrate || r.env.support.WakesMigrated {
		return
	}
	for _, m := range r.callable() {
		a := m.Node       // it may get another one later
		r.env.Go(func() { // ends within callTimeout
			_ = a.poke(ctx) // a node that does not answer is found by others
		})
	}
}

// noteStatus remembers the map for Status.
func (r *reconciler) noteStatus() {
	status := groupStatus{
		certain: r.certain() && !r.contest.on, contested: r.contest.on,
		members: len(r.nodes.Members()), obstacle: r.obstacle, weight: make(map[int]float64),
		strangers: r.strangers.listed(),
	}
	weights := r.nodes.Steering()
	for _, m := range r.nodes.Members() {
		if m.Node == nil || m.Foreign {
			continue
		}
		status.mute = status.mute || m.Node.mute
		if weights != nil && !status.contested {
			status.weight[m.Node.id] = portgroup.Percent(weights, r.nodes.Index(m))
		}
	}
	r.shown.set(status)
}
