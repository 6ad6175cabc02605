//go:build linux

package bus

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer"
)

// churnEnv holds a churnJob, as JSON, when the test binary runs as a node of the churn test.
const churnEnv = "BUS_TEST_CHURN"

type churnJob struct {
	Directory string
	ID        int
	Forget    bool // peers that have left, so that what the node holds does not grow
}

// churnPause is the time between two rounds of messages of one node: one to all, and one to each.
const churnPause = 20 * time.Millisecond

// churnReport is the report of a node of the churn test about its life.
type churnReport struct {
	Incarnation string
	Events      []peer.Event
	Peers       int
	Sent        map[string]uint64 // by receiver: how many messages reached the link's queue
	Broadcast   uint64            // how many
	Got         map[string]uint64 // by sender: the number of the last message that came for us
	Heard       map[string]uint64 // by sender: the number of the last message that came for all
	Faults      []string          // what came twice, out of order or not at all

	Descriptors int
	Goroutines  int
	Heap        uint64 // bytes, after a collection
}

// churner is a node of the churn test: a process that joins, sends without end, and does what it is told on standard
// input: "stop" ends the sending, "report" prints a report, "leave" ends the node.
type churner struct {
	job  churnJob
	mesh *peer.Mesh
	bus  *Bus

	mu     sync.Mutex // guards report
	report churnReport
}

func init() { programs[churnEnv] = runChurner }

func runChurner() int {
	if err := churn(); err != nil {
		fmt.Fprintln(os.Stderr, "churner:", err)
		return 1
	}
	return 0
}

func churn() error {
	var job churnJob
	if err := json.Unmarshal([]byte(os.Getenv(churnEnv)), &job); err != nil {
		return err
	}
	c, err := joinChurn(job)
	if err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go c.send(stop, stopped) // ended by stop; what follows waits for it
	fmt.Println("ready", c.mesh.Self().Incarnation)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "stop":
			close(stop)
			<-stopped
			fmt.Println("stopped", c.bus.Flush(context.Background()))
		case "report":
			c.print()
		case "leave":
			close(stop)
			<-stopped
			err := errors.Join(c.bus.Close(), c.mesh.Close())
			c.print()
			return err
		}
	}
	return errors.New("the test has ended")
}

func joinChurn(job churnJob) (c *churner, err error) {
	c = &churner{job: job}
	c.report.Sent, c.report.Got, c.report.Heard = make(map[string]uint64), make(map[string]uint64), make(map[string]uint64)
	c.mesh, err = peer.Join(context.Background(), peer.Options{
		Directory: job.Directory, Self: peer.Info{Cluster: "churn", ID: job.ID, Slot: job.ID, Generation: 1},
	})
	if err != nil {
		return nil, err
	}
	c.report.Incarnation = c.mesh.Self().Incarnation.String()
	c.mesh.OnEvent(c.note)
	if c.bus, err = New(context.Background(), c.mesh, Options{}); err != nil {
		return nil, err
	}
	for topic, last := range map[string]map[string]uint64{"one": c.report.Got, "all": c.report.Heard} {
		_, err := c.bus.Subscribe(topic, func(_ context.Context, m Message) (any, error) {
			c.take(topic, last, m)
			return nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return c, c.bus.Flush(context.Background())
}

func (c *churner) note(event peer.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Events = append(c.report.Events, event)
	if c.job.Forget {
		c.report.Events = nil
		if event.Type == peer.Left {
			for _, numbers := range []map[string]uint64{c.report.Sent, c.report.Got, c.report.Heard} {
				delete(numbers, event.Peer.Incarnation.String())
			}
		}
	}
}

func (c *churner) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Faults = append(c.report.Faults, fmt.Sprintf(format, args...))
}

// take checks that a message is the one behind the last of its sender. The first for all may have any number.
func (c *churner) take(topic string, last map[string]uint64, m Message) {
	from, number := m.From.Incarnation.String(), binary.BigEndian.Uint64(m.Data)
	c.mu.Lock()
	before, known := last[from]
	last[from] = number
	c.mu.Unlock()
	first := topic == "all" && !known
	late := c.job.Forget && !known && !c.isPeer(m.From) // it has left, and its last messages are still handled
	if !first && !late && number != before+1 {
		c.fault("%s: message %d of node %d came behind %d", topic, number, m.From.ID, before)
	}
}

func (c *churner) isPeer(info peer.Info) bool {
	return slices.ContainsFunc(c.mesh.Peers(), func(p peer.Info) bool { return p.Incarnation == info.Incarnation })
}

// send is a goroutine that ends with stop.
func (c *churner) send(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(churnPause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
		c.report.Broadcast++
		c.check("broadcast", c.bus.Broadcast(context.Background(), "all", numbered(c.report.Broadcast)))
		for _, to := range c.mesh.Peers() {
			c.check("send", c.sendOne(to))
		}
	}
}

// sendOne sends the next message to a peer.
func (c *churner) sendOne(to peer.Info) error {
	name := to.Incarnation.String()
	c.mu.Lock()
	number := c.report.Sent[name] + 1
	c.mu.Unlock()
	err := c.bus.Send(context.Background(), to.ID, "one", numbered(number))
	if err == nil {
		c.mu.Lock()
		c.report.Sent[name] = number
		c.mu.Unlock()
	}
	return err
}

// check takes note of an error that the end of a peer does not explain.
func (c *churner) check(what string, err error) {
	if err == nil || errors.Is(err, ErrNoPeer) || errors.Is(err, ErrNoSubscriber) || errors.Is(err, ErrPeerLeft) {
		return
	}
	c.fault("%s: %v", what, err)
}

// numbered returns a message of 64 bytes with a number.
func numbered(n uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 56)...)
}

func (c *churner) print() {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		c.fault("%v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.Peers = len(c.mesh.Peers())
	r.Descriptors, r.Goroutines, r.Heap = len(descriptors), runtime.NumGoroutine(), memory.HeapAlloc
	line, err := json.Marshal(r)
	if err != nil {
		line = []byte(err.Error())
	}
	fmt.Printf("report %s\n", line)
}
