// Package kernel is what a master asks of the operating system about the ports that processes share. Tests replace it.
package kernel

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/cluster/internal/proctree"
	"github.com/multinode-go/multinode/reuseport"
)

// Kernel is the operating system, as far as a Steering needs it. Methods without a description are the functions of package
// reuseport with the same name.
type Kernel interface {
	Sockets
	Processes
	Programs
	// Now returns the time of the clock that all processes share, CLOCK_MONOTONIC.
	Now() time.Duration
}

// Sockets are the ports and the groups of their listeners.
type Sockets interface {
	// Support returns the best level of steering.
	Support() reuseport.Support
	OnlineCPUs() int
	Reserve(ctx context.Context, network, address string) (Reservation, error)
	Rejoin(ctx context.Context, network, address string) (Reservation, error)
	Listeners(ctx context.Context, network, address string) ([]reuseport.Listener, error)
	// NewProbeConn returns a probe connection, a Question of package reuseport.
	NewProbeConn(ctx context.Context, target *net.TCPAddr) (ProbeConn, error)
	NewSink(ctx context.Context, network, address string) (Sink, error)
}

// Processes finds the processes that hold a socket.
type Processes interface {
	Owners(ctx context.Context, network, address string) ([]reuseport.Owner, error)
	Holders(ctx context.Context, inode uint32) ([]reuseport.Owner, error)
	Visitor(ctx context.Context, network, address string, skip func(pid int) bool) (found reuseport.Owner, ok bool, err error)
	// Descendants returns the children of a process, their children, and so on.
	Descendants(pid int) []int
}

// Programs are processes that do not talk to us.
type Programs interface {
	ListeningOf(ctx context.Context, pids []int) (map[int][]reuseport.Listener, error)
	Holder(ctx context.Context, local, source netip.AddrPort, pids []int) (pid int, err error)
	Borrow(pid int, inode uint32) (Borrowed, error)
}

// Reservation holds a port.
type Reservation interface {
	Addr() *net.TCPAddr
	io.Closer
}

// ProbeConn is a probe connection: it shows which member of a group sits at the index that it was steered to.
type ProbeConn interface {
	Source() netip.AddrPort
	Port() uint16
	Connect(ctx context.Context) error
	Arrival() (at reuseport.Arrival, inode uint32, err error)
	Finish(ctx context.Context) error
	io.Closer
}

// Sink is a member of a group on which no connection can be established.
type Sink interface {
	Inode() (uint32, error)
	Attach(s reuseport.Steering) error
	Fill(ctx context.Context, index int, attach func(reuseport.Steering) error, weights []uint32) error
	io.Closer
}

// Borrowed is a listener of another process.
type Borrowed interface {
	Attach(s reuseport.Steering) error
	SetIncomingCPU(cpu int) error
	Queue() (reuseport.QueueStats, error)
	Drain(ctx context.Context) (reuseport.DrainStats, error)
	io.Closer
}

// Host returns the operating system of this machine.
func Host() Kernel { return system{} }

// system is the operating system.
type system struct{}

var _ Kernel = system{}

func (system) Now() time.Duration         { return monotonic.Now() }
func (system) Support() reuseport.Support { return reuseport.Probe() }
func (system) OnlineCPUs() int            { return reuseport.OnlineCPUs() }

func (system) Reserve(ctx context.Context, network, address string) (Reservation, error) {
	return reuseport.Reserve(ctx, network, address)
}

func (system) Rejoin(ctx context.Context, network, address string) (Reservation, error) {
	return reuseport.Rejoin(ctx, network, address)
}

func (system) Listeners(ctx context.Context, network, address string) ([]reuseport.Listener, error) {
	return reuseport.Listeners(ctx, network, address)
}

func (system) NewProbeConn(ctx context.Context, target *net.TCPAddr) (ProbeConn, error) {
	return reuseport.NewQuestion(ctx, target)
}

func (system) NewSink(ctx context.Context, network, address string) (Sink, error) {
	s, err := reuseport.NewSink(ctx, network, address)
	return sink{s}, err
}

func (system) Owners(ctx context.Context, network, address string) ([]reuseport.Owner, error) {
	return reuseport.Owners(ctx, network, address)
}

func (system) Holders(ctx context.Context, inode uint32) ([]reuseport.Owner, error) {
	return reuseport.Holders(ctx, inode)
}

func (system) Visitor(ctx context.Context, network, address string, skip func(pid int) bool) (found reuseport.Owner, ok bool, err error) {
	return reuseport.Visitor(ctx, network, address, skip)
}

func (system) Descendants(pid int) []int { return proctree.Descendants(pid) }

func (system) ListeningOf(ctx context.Context, pids []int) (map[int][]reuseport.Listener, error) {
	return reuseport.ListeningOf(ctx, pids)
}

func (system) Holder(ctx context.Context, local, source netip.AddrPort, pids []int) (pid int, err error) {
	return reuseport.Holder(ctx, local, source, pids)
}

func (system) Borrow(pid int, inode uint32) (Borrowed, error) {
	b, err := reuseport.Borrow(pid, inode)
	return borrowed{b}, err
}

type sink struct{ *reuseport.Sink }

func (s sink) Inode() (uint32, error)              { return reuseport.Inode(s) }
func (s sink) Attach(how reuseport.Steering) error { return reuseport.Attach(s, how) }

type borrowed struct{ *reuseport.Borrowed }

func (b borrowed) Attach(how reuseport.Steering) error  { return reuseport.Attach(b, how) }
func (b borrowed) SetIncomingCPU(cpu int) error         { return reuseport.SetIncomingCPU(b, cpu) }
func (b borrowed) Queue() (reuseport.QueueStats, error) { return reuseport.Queue(b) }

func (b borrowed) Drain(ctx context.Context) (reuseport.DrainStats, error) {
	return reuseport.Drain(ctx, b)
}
