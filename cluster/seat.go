package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// seat is this node's place in the group of one port: its own listener.
type seat struct {
	key      portKey
	address  string
	listener *serve.Acceptor
	socket   *net.TCPListener // below listener
	inode    uint32
}

// seats are all listeners of this node, and what the master may ask about them.
type seats struct {
	pauses bool // an accept loop that does not pass proves nothing, see Options.AcceptPauses

	mu      sync.Mutex
	load    func() (conns, requests int)    // guarded by mu
	move    func(portKey)                   // guarded by mu; lets the node leave a group and join it again
	taken   map[portKey]*seat               // guarded by mu
	told    map[portKey]*portgroup.Snapshot // guarded by mu
	moving  map[portKey]*serve.Acceptor     // guarded by mu; of seats that are given up only to be taken again
	awaited map[netip.AddrPort]*expected    // guarded by mu; by source
	closed  bool                            // guarded by mu
}

func newSeats(opts Options) *seats {
	return &seats{
		pauses: opts.AcceptPauses, load: func() (int, int) { return 0, 0 }, move: func(portKey) {},
		taken: make(map[portKey]*seat), told: make(map[portKey]*portgroup.Snapshot), moving: make(map[portKey]*serve.Acceptor), awaited: make(map[netip.AddrPort]*expected),
	}
}

// serve sets what tells the load of this node, and what moves it in a group.
func (s *seats) serve(load func() (conns, requests int), move func(portKey)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load, s.move = load, move
}

// get returns the seat for a port.
func (s *seats) get(key portKey) (*seat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.taken[key]; one != nil {
		return one, nil
	}
	return nil, fmt.Errorf("this node does not listen on %s %s: %w", key.Network, key.Address, net.ErrClosed)
}

func (s *seats) all() []*seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*seat
	for _, one := range s.taken {
		all = append(all, one)
	}
	return all
}

// answer answers a question of the master. ctx ends with the link.
func (s *seats) answer(ctx context.Context, q message) message {
	answer, err := s.handle(ctx, q)
	if err != nil {
		return failure(err)
	}
	return answer
}

func (s *seats) handle(ctx context.Context, q message) (message, error) {
	if q.Kind == kindProbe {
		return s.probe(ctx)
	}
	if q.Kind == kindAwait {
		return message{}, s.await(ctx, q.Source)
	}
	if q.Port == nil {
		return message{}, fmt.Errorf("the question %q names no port", q.Kind)
	}
	if q.Kind == kindOpen {
		one, err := s.open(ctx, *q.Port, q.Address)
		if err != nil {
			return message{}, err
		}
		return message{Inode: one.inode}, nil
	}
	one, err := s.get(*q.Port)
	if err != nil {
		return message{}, err
	}
	if q.Kind == kindForget {
		return message{Came: s.forget(one, q.Source)}, nil
	}
	return message{}, s.apply(one, q)
}

// apply does what the master asks of one seat.
func (s *seats) apply(one *seat, q message) error {
	switch q.Kind {
	case kindShut:
		return s.shut(one)
	case kindAttach:
		if q.Steering == nil {
			return errors.New("the question has no steering")
		}
		if q.Until != 0 && monotonic.Now() > q.Until {
			return errors.New("the program comes too late: another one may be attached by now")
		}
		return reuseport.Attach(one.socket, *q.Steering)
	case kindSnapshot:
		s.keep(one, q.Snapshot)
		return nil
	case kindMove:
		s.mu.Lock()
		defer s.mu.Unlock()
		go s.move(one.key) // ends within longestMove
		return nil
	case kindCPU:
		return reuseport.SetIncomingCPU(one.socket, q.CPU)
	case kindExpect:
		s.expect(one, q.Source)
		return nil
	default:
		return fmt.Errorf("the question %q is not known here", q.Kind)
	}
}

// keep keeps a snapshot if it is the newest.
func (s *seats) keep(one *seat, told *portgroup.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.told[one.key]; told != nil && (last == nil || told.At > last.At) {
		s.told[one.key] = told
	}
}

// queue returns the length and the limit of the accept queue, 0 while it is being closed.
func (one *seat) queue() (length, limit int) {
	q, err := reuseport.Queue(one.socket)
	if err != nil {
		return 0, 0
	}
	return q.Length, q.Limit
}

// open takes the seat for a port. A seat that is moving keeps its acceptor; one that is taken already is returned.
func (s *seats) open(ctx context.Context, key portKey, address string) (*seat, error) {
	if one, err := s.get(key); err == nil {
		return one, nil
	}
	socket, err := reuseport.Listen(ctx, key.Network, address, reuseport.Options{})
	if err != nil {
		return nil, err
	}
	inode, err := reuseport.Inode(socket)
	if err != nil {
		return nil, errline.Join(err, socket.Close())
	}
	one := &seat{key: key, address: address, socket: socket, inode: inode}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.taken[key] != nil {
		return nil, errline.Join(net.ErrClosed, socket.Close())
	}
	if one.listener = s.moving[key]; one.listener == nil {
		one.listener = serve.NewAcceptor(socket)
	} else if err := one.listener.Resume(socket); err != nil {
		return nil, err
	}
	s.taken[key] = one
	return one, nil
}

// shut gives a seat up.
func (s *seats) shut(one *seat) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[one.key] == one {
		delete(s.taken, one.key)
	}
	_ = reuseport.Hide(one.socket) // where it cannot be, the close may lose a connection, as it always did
	if s.moving[one.key] == one.listener && !s.closed {
		return one.listener.Suspend()
	}
	return one.listener.Shut()
}

// beginMove lets the acceptor of a seat that is given up wait until the seat is taken again, or endMove.
func (s *seats) beginMove(one *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moving[one.key] = one.listener
}

// endMove closes the acceptor if the seat was not taken again.
func (s *seats) endMove(key portKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	listener := s.moving[key]
	delete(s.moving, key)
	if s.taken[key] != nil {
		return nil
	}
	return listener.Shut()
}

// refuse takes no more seats.
func (s *seats) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// close gives up all seats, and takes no more.
func (s *seats) close() (err error) {
	s.refuse()
	for _, one := range s.all() {
		err = errline.Join(err, s.shut(one))
	}
	return err
}

// probe answers when all accept loops have passed: this process lives, and its server accepts.
func (s *seats) probe(ctx context.Context) (message, error) {
	var m message
	s.mu.Lock()
	load := s.load
	s.mu.Unlock()
	m.Conns, m.Requests = load()
	var pokes sync.WaitGroup
	var mu sync.Mutex // guards m.Seats and stuck
	var stuck error
	for _, one := range s.all() {
		info := seatInfo{Port: one.key, Address: one.address, Inode: one.inode}
		info.Queue, info.Limit = one.queue()
		m.Seats = append(m.Seats, info)
		if s.pauses {
			continue
		}
		pokes.Go(func() { // ends with ctx
			err := one.listener.Poke(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && !errors.Is(err, net.ErrClosed) {
				stuck = err
			}
		})
	}
	pokes.Wait()
	return m, stuck
}

// expected is a question that this node watches for.
type expected struct {
	came      <-chan struct{} // closed when we have accepted it
	forgotten chan struct{}   // closed when nobody wants to know any more
	expiry    *time.Timer
}

// expect watches for a question, until forget or after callTimeout: a master that has given this node up does not tell it
// to forget, and the port may be a client's then.
func (s *seats) expect(one *seat, source netip.AddrPort) {
	e := &expected{came: one.listener.Expect(source), forgotten: make(chan struct{})}
	e.expiry = time.AfterFunc(callTimeout, func() { s.forget(one, source) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaited[source] = e
}

// forget ends that, and tells whether the question has come.
func (s *seats) forget(one *seat, source netip.AddrPort) (came bool) {
	one.listener.Forget(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.awaited[source]
	if e == nil {
		return false
	}
	delete(s.awaited, source)
	e.expiry.Stop()
	close(e.forgotten)
	return isClosed(e.came)
}

// await waits until a question that is expected has come.
func (s *seats) await(ctx context.Context, source netip.AddrPort) error {
	s.mu.Lock()
	e := s.awaited[source]
	s.mu.Unlock()
	if e == nil {
		return fmt.Errorf("the question from %v is not expected", source)
	}
	select {
	case <-e.came:
		return nil
	case <-e.forgotten:
		return fmt.Errorf("the question from %v went elsewhere", source)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *seats) lastTold(key portKey) *portgroup.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told[key]
}

func (s *seats) infos() []seatInfo {
	var infos []seatInfo
	for _, one := range s.all() {
		infos = append(infos, seatInfo{Port: one.key, Address: one.address, Inode: one.inode, Snapshot: s.lastTold(one.key)})
	}
	slices.SortFunc(infos, func(a, b seatInfo) int { return int(a.Inode) - int(b.Inode) })
	return infos
}
