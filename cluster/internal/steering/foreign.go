package steering

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

var (
	errNoListener = errors.New("it no longer listens there")
	// ErrTalks is the error of FindForeign for the process of a worker.
	ErrTalks = errors.New("the process talks to us, and so its listeners are those of a worker")
)

// Foreign is a listener of a program that does not use this package: the master does for it what a worker does for its own.
type Foreign struct {
	root   int // the process that we have started
	pid    int // that or one of its descendants
	inode  uint32
	alone  bool // no other process can listen on its address
	group  *group
	agent  *agent
	signal func() error // asks the process to end
}

// FindForeign finds the listeners of a process, and adds them to their groups. It calls talks once the process listens, to learn
// whether it is linked with the master: a worker is linked before it listens, so an earlier answer would say nothing.
//
// A listener whose address cannot be shared, or that may not be borrowed, keeps its group from being steered.
func (s *Steering) FindForeign(ctx context.Context, id, pid int, signal func() error, talks func() bool) ([]*Foreign, error) {
	holders := append([]int{pid}, s.kernel.Descendants(pid)...)
	listening, err := s.kernel.ListeningOf(ctx, holders)
	switch {
	case err != nil || len(listening) == 0:
		return nil, err
	case talks():
		return nil, ErrTalks
	}
	var listeners []*Foreign
	for holder, l := range eachOnce(holders, listening) {
		key, err := foreignKey(ctx, s.kernel, l)
		if err != nil {
			return nil, err
		}
		g, err := s.groupBy(ctx, key, func() (kernel.Reservation, error) { return nil, nil })
		if err != nil {
			return nil, err
		}
		one := &Foreign{root: pid, pid: holder, inode: l.Inode, group: g, signal: signal}
		one.agent = &agent{id: id, pid: pid, mute: true}
		if one.alone = hasForItself(ctx, s.kernel, key, l); one.alone {
			one.agent.obstacle = fmt.Sprintf("%s listens on %s without SO_REUSEPORT, so that no process can listen there beside it, as a reload needs",
				s.program.Label, l.Addr)
		} else if err := one.borrow(func(kernel.Borrowed) error { return nil }); isForbidden(err) {
			one.agent.obstacle = fmt.Sprintf("the listeners of %s may not be borrowed (%v): run it as the user of this process, "+
				"and a container with --cap-add SYS_PTRACE", s.program.Label, errno(err))
		}
		var link portgroup.Agent = one
		one.agent.link.Store(&link)
		one.agent.ready.Store(true)
		listeners = append(listeners, one)
	}
	for _, one := range listeners {
		one.group.adopt(ctx, one.agent, one.inode, nil)
		one.group.look(ctx)
	}
	return listeners, nil
}

// eachOnce yields each listener once, with the first process that holds it: several may have inherited it.
func eachOnce(holders []int, listening map[int][]reuseport.Listener) iter.Seq2[int, reuseport.Listener] {
	return func(yield func(int, reuseport.Listener) bool) {
		seen := make(map[uint32]bool)
		for _, pid := range holders {
			for _, l := range listening[pid] {
				if !seen[l.Inode] && !yield(pid, l) {
					return
				}
				seen[l.Inode] = true
			}
		}
	}
}

// hasForItself reports whether no other process of our user can listen on the address of a listener, as it is without
// SO_REUSEPORT. It tries that with a socket that is only bound. For a listener of another user it returns false: that cannot be
// tried.
func hasForItself(ctx context.Context, k kernel.Kernel, key portgroup.Key, l reuseport.Listener) bool {
	owners, err := k.Owners(ctx, key.Network, key.Address)
	isIt := func(o reuseport.Owner) bool { return o.Inode == l.Inode && o.UID == os.Geteuid() }
	if err != nil || !slices.ContainsFunc(owners, isIt) {
		return false
	}
	beside, err := k.Rejoin(ctx, key.Network, key.Address)
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	_ = beside.Close() // it held nothing
	return false
}

// isForbidden reports whether a listener can never be borrowed. A listener that is gone is another case.
func isForbidden(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported)
}

// errno returns the system call that has failed, and how.
func errno(err error) error {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call
	}
	return err
}

// foreignKey returns the port of a listener. The network is the one in whose list the listener is: "tcp" if it accepts IPv4 and
// IPv6.
func foreignKey(ctx context.Context, k kernel.Kernel, l reuseport.Listener) (portgroup.Key, error) {
	for _, network := range []string{"tcp", "tcp4", "tcp6"} {
		listeners, err := k.Listeners(ctx, network, l.Addr.String())
		if err != nil {
			continue // not of that family
		}
		isIt := func(o reuseport.Listener) bool { return o.Inode == l.Inode }
		if slices.ContainsFunc(listeners, isIt) {
			return portgroup.Key{Network: network, Address: l.Addr.String()}, nil
		}
	}
	return portgroup.Key{}, fmt.Errorf("listener on %v: %w", l.Addr, errNoListener)
}

// Attach attaches a program through a listener that is borrowed for it.
func (f *Foreign) Attach(_ context.Context, _ portgroup.Key, s reuseport.Steering, _ time.Duration) error {
	return f.borrow(func(b kernel.Borrowed) error { return b.Attach(s) })
}

// SetCPU makes a CPU's connections go to the listener.
func (f *Foreign) SetCPU(_ context.Context, _ portgroup.Key, cpu int) error {
	return f.borrow(func(b kernel.Borrowed) error { return b.SetIncomingCPU(cpu) })
}

// Expect does nothing: the process takes a probe connection for a client that changes its mind.
func (f *Foreign) Expect(context.Context, portgroup.Key, netip.AddrPort) error { return nil }

// Forget does nothing, as Expect.
func (f *Foreign) Forget(context.Context, portgroup.Key, netip.AddrPort) (came bool, err error) {
	return false, nil
}

// errMute is the error of requests that only a process with this package can answer.
var errMute = fmt.Errorf("the program does not talk to us: %w", errors.ErrUnsupported)

// Open is not supported.
func (f *Foreign) Open(context.Context, portgroup.Key, string) (inode uint32, err error) {
	return 0, errMute
}

// Help does nothing: the program shares no queue.
func (f *Foreign) Help(context.Context, portgroup.Key, bool) error { return nil }

// Rejoin is not supported.
func (f *Foreign) Rejoin(context.Context, portgroup.Key) error { return errMute }

// Keep is not supported.
func (f *Foreign) Keep(context.Context, portgroup.Key, portgroup.Snapshot) error {
	return errMute
}

// Probe is not supported.
func (f *Foreign) Probe(context.Context) (portgroup.Load, error) {
	return portgroup.Load{}, errMute
}

func (f *Foreign) borrow(use func(kernel.Borrowed) error) error {
	b, err := f.group.kernel.Borrow(f.pid, f.inode)
	if err != nil {
		return err
	}
	return errline.Join(use(b), b.Close())
}

// queue returns the length and the limit of the accept queue, 0 where we may not look.
func (f *Foreign) queue() (length, limit int) {
	_ = f.borrow(func(b kernel.Borrowed) error { // an error leaves both 0
		q, err := b.Queue()
		length, limit = q.Length, q.Limit
		return err
	})
	return length, limit
}

// Await waits until the process, or a descendant of it, has accepted a probe connection.
func (f *Foreign) Await(ctx context.Context, _ portgroup.Key, source netip.AddrPort) (inode uint32, err error) {
	local, err := f.group.target()
	if err != nil {
		return 0, err
	}
	_, err = f.group.kernel.Holder(ctx, local.AddrPort(), source, append(f.group.kernel.Descendants(f.root), f.root))
	return f.inode, err
}

// Shut asks the process to end, and waits until its listener is gone.
func (f *Foreign) Shut(ctx context.Context, _ portgroup.Key) error {
	if err := f.signal(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	for {
		isOurs := func(l reuseport.Listener) bool { return l.Inode == f.inode }
		if listens, err := f.group.hasListener(ctx, isOurs); err != nil || !listens {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("process %d was told to end, and still listens on %s: %w", f.pid, f.group.address, ctx.Err())
		}
	}
}

// acceptTime is how long a program may need to register a connection that it has just accepted. A program that is asked to end
// earlier ends without it, as an http.Server does by Shutdown.
const acceptTime = 100 * time.Millisecond

// exclude steers new connections away, and waits until the accept queue is empty and the program has registered the last
// connection. It returns the epoch for leave.
func (f *Foreign) exclude(ctx context.Context) (epoch int, err error) {
	if epoch, _, err = f.group.exclude(ctx, f.agent); err != nil || epoch == 0 {
		return epoch, err
	}
	err = f.borrow(func(b kernel.Borrowed) error {
		_, err := b.Drain(ctx)
		return err
	})
	select {
	case <-time.After(acceptTime):
	case <-ctx.Done():
	}
	return epoch, err
}

// LetGo removes the listeners of a process: it gets no new connections, and signal asks it to end when its accept queues are
// empty. LetGo returns within [local.LongestLeave].
func (s *Steering) LetGo(listeners []*Foreign, signal func() error) {
	ctx, cancel := context.WithTimeout(s.ctx, local.LongestLeave)
	defer cancel()
	for again := true; again; {
		again = false
		epochs := make([]int, len(listeners))
		for i, one := range listeners {
			epochs[i], _ = one.exclude(ctx) // on an error the signal comes all the same, and what waits in the queue is lost
		}
		for i, one := range listeners {
			more, err := one.group.leave(ctx, one.agent, epochs[i])
			if again = again || more; err != nil {
				s.logger.Debug("listener of a program that does not talk to us", "pid", one.pid, "error", err)
			}
		}
	}
	_ = signal() // where the process had no listener; a second one does no harm, or it is gone
}

// Queue returns the length and the limit of the accept queue, 0 where we may not look, and whether it is that of a port.
func (f *Foreign) Queue(port portgroup.Key) (length, limit int, ok bool) {
	if f.group.key != port {
		return 0, 0, false
	}
	length, limit = f.queue()
	return length, limit, true
}

// Alone returns the address, and whether no other process can listen on it.
func (f *Foreign) Alone() (address string, ok bool) { return f.group.address, f.alone }
