// Package steeringtest is a fake of the kernel and of processes that share its ports, for tests of a steering.Steering and what is
// above it. It opens no socket and starts no process, and waits by package time only, so that it is for testing/synctest.
package steeringtest

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup/portgrouptest"
	"github.com/multinode-go/multinode/reuseport"
)

// Kernel is a fake [kernel.Kernel]: the groups of ports, and the programs that choose among their listeners. A connection is
// accepted as soon as it is established.
type Kernel struct {
	kernel.Programs // panics
	began           time.Time
	delay           time.Duration
	loss            float64

	mu      sync.Mutex // guards the fields below, and what they point to
	random  *rand.Rand
	groups  map[netip.AddrPort]*portgrouptest.Array
	holders map[uint32]*Process // of sockets, by inode; nil: a sink's
	inodes  uint32              // that were given away
	ports   uint16              // the last that was given away
}

var _ kernel.Kernel = (*Kernel)(nil)

// NewKernel returns a kernel without sockets. A message to or from a process takes up to delay, and is lost with the probability loss.
func NewKernel(random *rand.Rand, delay time.Duration, loss float64) *Kernel {
	return &Kernel{
		began: time.Now(), delay: delay, loss: loss, random: random, ports: 1023,
		groups: make(map[netip.AddrPort]*portgrouptest.Array), holders: make(map[uint32]*Process),
	}
}

// Dial returns the process that gets a new connection, nil if there is none.
func (k *Kernel) Dial(address string) *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.connect(netip.MustParseAddrPort(address), k.freePort())
	if p != nil {
		p.accepted++
	}
	return p
}

// connect needs mu, as do those that follow.
func (k *Kernel) connect(target netip.AddrPort, source uint16) *Process {
	inode, _ := k.group(target).Choose(k.random, source)
	return k.holders[inode]
}

func (k *Kernel) group(address netip.AddrPort) *portgrouptest.Array {
	if k.groups[address] == nil {
		k.groups[address] = portgrouptest.New()
	}
	return k.groups[address]
}

func (k *Kernel) freePort() uint16 {
	k.ports++
	return k.ports
}

func (k *Kernel) open(holder *Process) (inode uint32) {
	k.inodes++
	k.holders[k.inodes] = holder
	return k.inodes
}

// Now returns the time since the kernel was made.
func (k *Kernel) Now() time.Duration { return time.Since(k.began) }

// Support says that programs can be replaced.
func (k *Kernel) Support() reuseport.Support { return reuseport.Support{Rung: reuseport.RungBPF} }

// OnlineCPUs returns 1.
func (k *Kernel) OnlineCPUs() int { return 1 }

// Reserve returns the address of a port, which may be used.
func (k *Kernel) Reserve(_ context.Context, network, address string) (kernel.Reservation, error) {
	addr, err := net.ResolveTCPAddr(network, address)
	if err == nil && addr.Port == 0 {
		k.mu.Lock()
		defer k.mu.Unlock()
		addr.Port = int(k.freePort())
	}
	return reservation{addr}, err
}

// Rejoin is Reserve.
func (k *Kernel) Rejoin(ctx context.Context, network, address string) (kernel.Reservation, error) {
	return k.Reserve(ctx, network, address)
}

type reservation struct{ addr *net.TCPAddr }

func (r reservation) Addr() *net.TCPAddr { return r.addr }
func (r reservation) Close() error       { return nil }

// Listeners returns the listeners of a port.
func (k *Kernel) Listeners(ctx context.Context, network, address string) (all []reuseport.Listener, err error) {
	owners, err := k.Owners(ctx, network, address)
	for _, o := range owners {
		all = append(all, reuseport.Listener{Inode: o.Inode, Addr: o.Addr})
	}
	return all, err
}

// Owners returns the listeners of a port, with their processes.
func (k *Kernel) Owners(_ context.Context, _, address string) (all []reuseport.Owner, err error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	inodes := k.group(addr).Inodes()
	slices.Sort(inodes)
	for _, inode := range inodes {
		all = append(all, reuseport.Owner{Addr: addr, Listening: true, Inode: inode, PID: k.holders[inode].pid()})
	}
	return all, nil
}

// Holders returns the process that has a socket.
func (k *Kernel) Holders(_ context.Context, inode uint32) (all []reuseport.Owner, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.holders[inode]; p != nil {
		all = append(all, reuseport.Owner{Inode: inode, PID: p.pid()})
	}
	return all, nil
}

// Visitor returns a process that listens on a port.
func (k *Kernel) Visitor(ctx context.Context, network, address string, skip func(pid int) bool) (found reuseport.Owner, ok bool, err error) {
	owners, err := k.Owners(ctx, network, address)
	for _, o := range owners {
		if !skip(o.PID) {
			return o, true, nil
		}
	}
	return found, false, err
}

// Descendants returns none.
func (k *Kernel) Descendants(int) []int { return nil }

// NewSink opens a listener that takes no connection.
func (k *Kernel) NewSink(_ context.Context, _, address string) (kernel.Sink, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return sink{k.listen(nil, addr)}, nil
}

// listener is a socket in a group.
type listener struct {
	kernel *Kernel
	group  *portgrouptest.Array
	inode  uint32
}

func (k *Kernel) listen(holder *Process, address netip.AddrPort) listener {
	l := listener{k, k.group(address), k.open(holder)}
	l.group.Listen(l.inode)
	return l
}

// close needs mu.
func (l listener) close() {
	l.group.Close(l.inode)
	delete(l.kernel.holders, l.inode)
}

type sink struct{ listener }

func (s sink) Inode() (uint32, error) { return s.inode, nil }

func (s sink) Attach(how reuseport.Steering) error {
	s.kernel.mu.Lock()
	defer s.kernel.mu.Unlock()
	s.group.Attach(how)
	return nil
}

func (s sink) Fill(_ context.Context, _ int, attach func(reuseport.Steering) error, weights []uint32) error {
	return attach(reuseport.Steering{Weights: weights})
}

func (s sink) Close() error {
	s.kernel.mu.Lock()
	defer s.kernel.mu.Unlock()
	s.close()
	return nil
}

// NewProbeConn returns a probe connection.
func (k *Kernel) NewProbeConn(_ context.Context, target *net.TCPAddr) (kernel.ProbeConn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	to := netip.MustParseAddrPort(target.String())
	return &probe{kernel: k, target: to, source: netip.AddrPortFrom(to.Addr(), k.freePort())}, nil
}

type probe struct {
	kernel         *Kernel
	target, source netip.AddrPort
	at             reuseport.Arrival // guarded by mu of kernel, as is inode
	inode          uint32
}

func (q *probe) Source() netip.AddrPort { return q.source }
func (q *probe) Port() uint16           { return q.source.Port() }

func (q *probe) Connect(context.Context) error {
	q.kernel.mu.Lock()
	defer q.kernel.mu.Unlock()
	p := q.kernel.connect(q.target, q.Port())
	if p == nil {
		return syscall.ECONNREFUSED
	}
	if e := p.expected[q.source]; e != nil {
		close(e.came)
		q.at = reuseport.ArrivalClosed // its process needs it no more
	} else {
		q.at, q.inode = reuseport.ArrivalAccepted, q.kernel.open(p)
	}
	return nil
}

func (q *probe) Arrival() (at reuseport.Arrival, inode uint32, err error) {
	q.kernel.mu.Lock()
	defer q.kernel.mu.Unlock()
	return q.at, q.inode, nil
}

func (q *probe) Finish(context.Context) error { return q.Close() }

func (q *probe) Close() error {
	q.kernel.mu.Lock()
	defer q.kernel.mu.Unlock()
	delete(q.kernel.holders, q.inode)
	q.at = reuseport.ArrivalClosed
	return nil
}
