package ways

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
	addr() net.Addr
	// seat makes a place for a worker, and the files that it inherits.
	seat() (seat, []*os.File, error)
	// close is called when all workers are gone.
	close() error
}

// seat is one worker's place at a desk.
type seat interface {
	// open gives the worker connections from now on, since it is ready.
	open()
	// close gives it no more of them. It may be called again, and without open.
	close()
}

func newDesk(t task) (desk, error) {
	switch t.Variant {
	case proxied:
		return newProxy(t.Addr)
	case inherited:
		return newInheritance(t.Addr)
	default:
		return newPasser(t.Addr, t.Variant == leastConnections)
	}
}

// inheritance is one listener for all workers, which each of them accepts from. The master does not, and does not wait for
// connections either.
type inheritance struct {
	fd    int
	bound net.Addr
}

func newInheritance(addr string) (i inheritance, err error) {
	i.fd, i.bound, err = listenRaw(addr)
	return i, err
}

func (i inheritance) addr() net.Addr { return i.bound }

func (i inheritance) close() error { return unix.Close(i.fd) }

func (i inheritance) seat() (seat, []*os.File, error) {
	fd, err := duplicate(i.fd)
	return heir{}, []*os.File{os.NewFile(uintptr(fd), "listener")}, os.NewSyscallError("fcntl", err)
}

// heir needs nobody: it has the listener.
type heir struct{}

func (heir) open()  {}
func (heir) close() {}

// worker is a process of a crew. It ends when its standard input does.
type worker struct {
	*child.Process
	seat seat
}

// crew keeps so many workers, and replaces them.
type crew struct {
	desk    desk
	task    task           // of a worker
	orders  []chan order   // to replace a worker; the end of a channel is the order to end it
	running sync.WaitGroup // those that keep a worker
}

// order is told whether it could be carried out.
type order chan<- error

// runCrew is the master.
func runCrew(t task) error {
	d, err := newDesk(t)
	if err != nil {
		return err
	}
	t.Addr = d.addr().String()
	c := &crew{desk: d, task: t}
	for range t.Workers {
		w, err := c.hire()
		if err != nil {
			return errors.Join(err, c.stop())
		}
		orders := make(chan order)
		c.orders = append(c.orders, orders)
		c.running.Go(func() { c.keep(w, orders) }) // ended by stop
	}
	sayWorkers(t.Workers, t.Addr)
	return errors.Join(obey(c.restart), c.stop())
}

// hire starts a worker and returns when it serves.
func (c *crew) hire() (*worker, error) {
	cmd, err := command(workerRole, c.task, c.task.share())
	if err != nil {
		return nil, err
	}
	seat, files, err := c.desk.seat()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = files
	p, err := child.Start("a worker", cmd)
	for _, file := range files {
		err = errors.Join(err, file.Close()) // the worker has its own
	}
	if err != nil {
		seat.close()
		return nil, err
	}
	w := &worker{p, seat}
	if _, err := w.Line(0, saidWorker); err != nil {
		w.retire()
		return nil, err
	}
	seat.open()
	return w, nil
}

// retire lets the worker finish what it has begun, and returns when it has ended.
func (w *worker) retire() {
	w.seat.close()
	w.End(nil)
	if err := w.Wait(); err != nil {
		fmt.Fprintf(os.Stderr, "%d: %v\n", w.PID(), err)
	}
}

// keep replaces a worker that dies, or is to be replaced: then the new one comes first.
func (c *crew) keep(w *worker, orders <-chan order) {
	for {
		var told order
		select {
		case <-w.Ended():
			w.seat.close()
			time.Sleep(restartPause)
		case answer, ok := <-orders:
			if !ok {
				w.retire()
				return
			}
			told = answer
		}
		next, err := c.hire()
		if err == nil {
			w.retire()
			w = next
		}
		if told != nil {
			told <- err
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "ways: a dead worker is not replaced:", err)
		}
	}
}

// restart replaces each worker.
func (c *crew) restart() error {
	for _, orders := range c.orders {
		done := make(chan error)
		orders <- done
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

func (c *crew) stop() error {
	for _, orders := range c.orders {
		close(orders)
	}
	c.running.Wait()
	return c.desk.close()
}

// firstFile is the descriptor of the first of exec.Cmd's ExtraFiles.
const firstFile = 3

// runWorker is a worker of a crew, until it gets no more connections or standard input ends.
func runWorker(t task) error {
	first := os.NewFile(firstFile, "first")
	if t.Variant == roundRobin || t.Variant == leastConnections {
		return receive(t, first, os.NewFile(firstFile+1, "tally"))
	}
	l, err := net.FileListener(first)
	if err != nil {
		return err
	}
	_ = first.Close() // the listener has a descriptor of its own
	end := l.Close
	if own, ok := l.(*net.UnixListener); ok { // its end would lose what waits in its queue
		end = func() error { return errors.Join(settle(own), l.Close()) }
	}
	return child.Serve(func() error { return serveCrew(l) }, end)
}

// settle returns when the server has accepted what waits in its queue: a connection that comes last, and sends nothing, is
// closed last.
func settle(l *net.UnixListener) error {
	last, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr)) // it is one
	if err != nil {
		return err
	}
	defer last.Close()
	_ = last.CloseWrite() // it does not fail for what is open
	_, err = io.Copy(io.Discard, last)
	return err
}
