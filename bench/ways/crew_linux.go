package ways

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// restartPause is how long the master waits before it replaces a worker that has died, so that a broken one is no fork bomb.
const restartPause = 100 * time.Millisecond

// Names of the crews, which are also those of their ways.
const (
	roundRobin       = "master-accept-rr"
	leastConnections = "master-accept-lc"
	proxied          = "proxy"
	inherited        = "inherited"
)

// crewed is a master whose workers get their connections through it.
func crewed(way string) plan {
	gomaxprocs := 2 // of the master: its loop keeps one, the rest has the other
	if way == proxied {
		gomaxprocs = 0 // it copies all bytes: it may use every CPU
	}
	return plan{command: ours(crewRole, way, gomaxprocs), restart: (*Server).order}
}

// desk is where a crew's workers get their connections.
type desk interface {
	addr() string
	// hire prepares a worker's command, which has not started.
	hire(cmd *exec.Cmd) (seat, error)
	// close is called when all workers are gone.
	close() error
}

// seat is one worker's part of a desk.
type seat interface {
	// open gives the worker connections from now on, since it is ready.
	open() error
	// close gives it no more of them.
	close()
	// free is called when the worker is gone, or did not start.
	free()
}

// worker is a process of a crew. It ends when its standard input does.
type worker struct {
	*child.Process
	seat seat
}

// crew keeps so many workers, and replaces them.
type crew struct {
	desk desk
	task task
	role string // of a worker

	mu       sync.Mutex // guards the rest
	workers  []*worker  // those that are to serve
	stopping bool
	hiring   sync.WaitGroup // of those that replace dead ones
}

// runCrew is the master.
func runCrew(t task) error {
	c, err := newCrew(t)
	if err != nil {
		return err
	}
	for range t.Workers {
		if err := c.hire(); err != nil {
			return errors.Join(err, c.stop())
		}
	}
	sayWorkers(t.Workers, c.task.Addr)
	return errors.Join(obey(c.restart), c.stop())
}

func newCrew(t task) (c *crew, err error) {
	c = &crew{task: t, role: acceptorRole}
	switch t.Variant {
	case proxied:
		c.desk, err = newProxy(t.Addr)
	case inherited:
		c.desk, err = newInheritance(t.Addr)
	default:
		c.role = receiverRole
		c.desk, err = newPasser(t.Addr, t.Variant == leastConnections)
	}
	if err == nil {
		c.task.Addr = c.desk.addr()
	}
	return c, err
}

// hire starts a worker and returns when it serves.
func (c *crew) hire() error {
	cmd, err := command(c.role, c.task, c.task.share())
	if err != nil {
		return err
	}
	w := new(worker)
	if w.seat, err = c.desk.hire(cmd); err != nil {
		return err
	}
	if w.Process, err = child.Start("a worker", cmd); err != nil {
		w.seat.free()
		return err
	}
	go c.watch(w) // ends with the worker
	if _, err := w.Line(0, saidWorker); err != nil {
		w.retire()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		w.retire()
		return nil
	}
	c.workers = append(c.workers, w)
	return w.seat.open()
}

// retire lets the worker finish what it has begun.
func (w *worker) retire() {
	w.seat.close()
	w.End(nil)
}

// watch replaces a worker that dies.
func (c *crew) watch(w *worker) {
	<-w.Ended()
	if err := w.Wait(); err != nil {
		fmt.Fprintf(os.Stderr, "%d: %v\n", w.PID(), err)
	}
	w.seat.free()
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.workers, w)
	if i < 0 || c.stopping {
		return // it was told to end, or has never served
	}
	c.workers = slices.Delete(c.workers, i, i+1)
	c.hiring.Go(c.replace) // stop waits for it
}

func (c *crew) replace() {
	time.Sleep(restartPause)
	if err := c.hire(); err != nil {
		fmt.Fprintf(os.Stderr, "ways: a dead worker is not replaced: %v\n", err)
	}
}

// restart replaces each worker, the new one first.
func (c *crew) restart() error {
	c.mu.Lock()
	old := slices.Clone(c.workers)
	c.mu.Unlock()
	for _, w := range old {
		if err := c.hire(); err != nil {
			return err
		}
		c.mu.Lock()
		c.workers = slices.DeleteFunc(c.workers, func(one *worker) bool { return one == w })
		c.mu.Unlock()
		w.retire()
		<-w.Ended()
	}
	return nil
}

func (c *crew) stop() error {
	c.mu.Lock()
	c.stopping = true
	workers := slices.Clone(c.workers)
	c.mu.Unlock()
	for _, w := range workers {
		w.retire()
	}
	for _, w := range workers {
		<-w.Ended()
	}
	c.hiring.Wait()
	return c.desk.close()
}
