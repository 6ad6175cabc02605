package load

import (
	"container/heap"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/proc"
)

const (
	// sendsAtOnce is how many requests that are due may go out before answers are looked at again.
	sendsAtOnce = 64
	// lingerTime is how long a server has to close a short connection. Then we do.
	lingerTime = time.Second
	// pause is what a closed loop waits after a failure, so that it does not take the CPU from a server that starts again.
	pause = 10 * time.Millisecond
	// maxLost is how many failures are told one by one.
	maxLost = 200_000
)

// generator carries out a plan. One goroutine on a thread of its own does it all. Times are from the start of the run.
type generator struct {
	plan       Plan
	fast, slow []byte
	stop       <-chan struct{} // ends a strict plan when it is closed
	ledger     *Ledger         // nil: none

	poll   *poller
	conns  []*conn // by slot
	free   []*conn
	buffer [64 << 10]byte

	epoch     time.Time
	clients   []client
	queue     queue // of clients that wait for their time
	inFlight  int
	nextSweep time.Duration
	tally     *tally
}

// client sends requests: on one connection, each when it has its answer to the last, or each on a new connection.
type client struct {
	arrivals *arrivals // nil: a closed loop
	lot      lot
	family   int // of the address
	address  unix.Sockaddr
	due      time.Duration // when its next request has to be sent
	ready    time.Duration // when it can be sent; only from then on the generator is late
	conn     *conn         // with keep-alive; nil: none
}

// queue is a heap of clients, by when they are ready.
type queue []*client

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].ready < q[j].ready }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(c any)        { *q = append(*q, c.(*client)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}

// generate carries out a plan.
func generate(p Plan, stop <-chan struct{}) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := errors.Join(proc.Bind(p.CPUs), ownThread()); err != nil {
		return Result{}, err
	}
	g, err := newGenerator(p)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	g.stop = stop
	if p.KeepAlive && p.Strict == nil {
		g.connect()
	}
	if err := g.run(); err != nil {
		return Result{}, err
	}
	return g.tally.result(), nil
}

func newGenerator(p Plan) (*generator, error) {
	addrs, err := p.targets()
	if err != nil {
		return nil, err
	}
	g := &generator{plan: p, fast: p.message(p.Cost.Usual), slow: p.message(p.Cost.Slow), epoch: time.Now()}
	end := p.Warmup + p.Duration
	if p.Strict != nil {
		end = never / 2
		if p.Strict.Ledger != "" {
			if g.ledger, err = OpenLedger(p.Strict.Ledger); err != nil {
				return nil, err
			}
		}
	}
	g.tally = newTally(p.Warmup, end)
	clients := 1
	if p.perConnection() {
		clients = p.Connections
	}
	g.clients = make([]client, clients)
	for i := range g.clients {
		c := &g.clients[i]
		c.lot = p.lot(i)
		c.family, c.address = sockaddrOf(addrs[i%len(addrs)])
	}
	if p.Rate > 0 {
		for i, a := range p.schedules() {
			g.clients[i].arrivals = &a
		}
	}
	g.poll, err = newPoller()
	return g, err
}

func sockaddrOf(addr *net.TCPAddr) (family int, address unix.Sockaddr) {
	if ip := addr.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP)}
}

// connect opens all connections before the run.
func (g *generator) connect() {
	for i := range g.clients {
		k := g.take(&g.clients[i])
		if err := g.dial(k); err != nil {
			g.hangUp(k) // the first request will tell
			continue
		}
		k.fresh = false
	}
}

func (g *generator) now() time.Duration { return time.Since(g.epoch) }

func (g *generator) run() error {
	g.epoch = time.Now()
	for i := range g.clients {
		g.release(&g.clients[i], 0)
	}
	warm, spent := false, time.Duration(0)
	for now := g.now(); (len(g.queue) > 0 || g.inFlight > 0 || !warm) && now < g.tally.end+g.plan.Timeout; now = g.now() {
		if !warm && now >= g.tally.begin {
			warm, spent = true, threadCPU()
			fmt.Println(saidBegun)
		}
		select {
		case <-g.stop:
			g.stop = nil
			g.tally.end, g.queue = now, nil // who waits sends no more
		default:
		}
		events, err := g.poll.wait(g.next(warm) - now)
		if err != nil {
			return err
		}
		for i := range events {
			g.handle(g.conns[events[i].Fd], events[i].Events)
		}
		g.sendDue()
		g.sweep()
	}
	g.tally.CPU = threadCPU() - spent
	g.abandon()
	return nil
}

// next returns when there is something to do without an event.
func (g *generator) next(warm bool) time.Duration {
	next := g.nextSweep
	if !warm {
		next = min(next, g.tally.begin)
	}
	if len(g.queue) > 0 {
		next = min(next, g.queue[0].ready)
	}
	return next
}

func (g *generator) sendDue() {
	for range sendsAtOnce {
		now := g.now()
		if len(g.queue) == 0 || g.queue[0].ready > now {
			return
		}
		g.start(heap.Pop(&g.queue).(*client), now)
	}
}

// start sends the request of c that is due.
func (g *generator) start(c *client, now time.Duration) {
	r := request{due: c.due, begun: now, message: g.fast}
	if c.arrivals == nil {
		r.due = now
	}
	if c.lot.slow() {
		r.message = g.slow
	}
	g.tally.sent(r.due, now-c.ready)
	if !g.plan.perConnection() {
		g.release(c, 0)
		if g.inFlight >= maxInFlight {
			g.tally.failed(r.due, NotSent)
			return
		}
	}
	k := c.conn
	if k == nil {
		k = g.take(c)
	}
	k.request, k.active = r, true
	g.inFlight++
	g.send(k)
}

// release lets c wait for its next request, which cannot be sent before a time.
func (g *generator) release(c *client, free time.Duration) {
	c.due = free
	if c.arrivals != nil {
		c.due = c.arrivals.next()
	}
	if c.due < g.tally.end {
		c.ready = max(c.due, free)
		heap.Push(&g.queue, c)
	}
}

// finish counts the request of k. kind is why it has failed, or "".
func (g *generator) finish(k *conn, kind string) {
	now := g.now()
	k.active = false
	g.inFlight--
	if kind == "" {
		g.tally.answered(k.request.due, now, k.response.worker, !k.counted)
		k.counted = k.counted || g.tally.counts(k.request.due)
	} else {
		g.tally.failed(k.request.due, kind)
	}
	if !g.plan.perConnection() {
		return
	}
	if kind != "" && k.client.arrivals == nil {
		now += pause
	}
	if g.plan.Strict != nil {
		now += g.plan.Strict.Think
	}
	g.release(k.client, now)
}

// sweep ends what takes too long, and tells how far a strict plan is.
func (g *generator) sweep() {
	now := g.now()
	if now < g.nextSweep {
		return
	}
	g.nextSweep = now + min(max(g.plan.Timeout/64, time.Millisecond), 100*time.Millisecond)
	for _, k := range g.conns {
		switch {
		case k.active && now-k.request.begun >= g.plan.Timeout:
			g.fail(k, Timeout, unix.ETIMEDOUT)
		case k.lingers > 0 && now-k.lingers >= lingerTime:
			g.hangUp(k)
		}
	}
	if g.plan.Strict != nil {
		// Who does not listen will miss the end, too.
		_ = say(saidSoFar, Progress{g.tally.Requests + g.tally.Failures(), g.tally.Connections, g.tally.Failures()})
	}
}

// abandon counts what was not sent or not answered when the time was over, also for what had been sent.
func (g *generator) abandon() {
	for _, k := range g.conns {
		if k.active {
			g.fail(k, Timeout, unix.ETIMEDOUT)
		}
	}
	for len(g.queue) > 0 {
		c := heap.Pop(&g.queue).(*client)
		if c.arrivals != nil {
			g.tally.failed(c.due, NotSent)
			g.release(c, 0)
		}
	}
}

func (g *generator) close() {
	for _, k := range g.conns {
		g.shut(k)
	}
	g.poll.close()
	if g.ledger != nil {
		g.ledger.Close()
	}
}
