//go:build linux

package bus

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/peer"
)

const (
	churnNodes    = 8
	churnEnds     = 32 // of nodes, by leaving or by death
	soakNodes     = 16
	soakEnds      = 100
	churnPatience = await.Limit // for any single step
	// soakVariable is how long the soak test runs, as a time.Duration. `make soak` sets it. The churn test is longer then.
	soakVariable = "MULTINODE_SOAK"
)

// churnNode is a node of the churn test, seen from the test.
type churnNode struct {
	id          int
	incarnation string
	cmd         *exec.Cmd
	in          io.WriteCloser
	out         *bufio.Reader
	exited      chan struct{}

	born   int // the step at which it was ready
	ended  int // the step at which it was told to leave, or killed; 0 while it runs
	killed bool
	forget bool        // see churnJob
	report churnReport // the last one
}

// churnTest holds all nodes that there ever were.
type churnTest struct {
	*testing.T
	dir  string
	all  []*churnNode
	live []*churnNode
	step int

	forget bool // see churnJob, for nodes that are started now
}

func newChurnTest(t *testing.T) *churnTest {
	t.Helper()
	c := &churnTest{T: t, dir: filepath.Join(t.TempDir(), "mesh")}
	require.NoError(t, os.Mkdir(c.dir, 0o700))
	t.Cleanup(c.killAll)
	return c
}

func (c *churnTest) killAll() {
	for _, n := range c.live {
		_ = n.cmd.Process.Kill()
		<-n.exited
	}
}

// replace ends nodes and starts others, all at once, and waits until that is done.
func (c *churnTest) replace(victims []*churnNode, count int) {
	c.step++
	fresh := make([]*churnNode, count)
	var group sync.WaitGroup
	for i, victim := range victims {
		victim.ended, victim.killed = c.step, i%2 == c.step%2
		group.Go(func() { c.end(victim) })
	}
	for i := range fresh {
		fresh[i] = c.start(len(c.all) + 1)
		c.all = append(c.all, fresh[i])
	}
	for _, n := range fresh {
		group.Go(func() {
			line := n.read(c.T)
			incarnation, ok := strings.CutPrefix(line, "ready ")
			assert.True(c, ok, line)
			n.incarnation = incarnation
		})
	}
	group.Wait()
	c.step++
	for _, n := range fresh {
		n.born = c.step
	}
	for _, n := range c.live {
		if n.ended == 0 {
			fresh = append(fresh, n)
		}
	}
	c.live = fresh
	require.False(c, c.Failed())
}

func (c *churnTest) start(id int) *churnNode {
	c.Helper()
	job, err := json.Marshal(churnJob{Directory: c.dir, ID: id, Forget: c.forget})
	require.NoError(c, err)
	n := &churnNode{id: id, cmd: exec.Command(os.Args[0]), forget: c.forget, exited: make(chan struct{})}
	n.cmd.Env = append(os.Environ(), churnEnv+"="+string(job), "GORACE=atexit_sleep_ms=0")
	n.cmd.Stderr = os.Stderr
	n.in, err = n.cmd.StdinPipe()
	require.NoError(c, err)
	out, in, err := os.Pipe()
	require.NoError(c, err)
	n.cmd.Stdout, n.out = in, bufio.NewReader(out)
	require.NoError(c, n.cmd.Start())
	require.NoError(c, in.Close())
	require.NoError(c, out.SetReadDeadline(time.Now().Add(time.Hour)))
	go func() { // ends with the process
		_ = n.cmd.Wait()
		close(n.exited)
	}()
	c.Cleanup(func() {
		_ = n.cmd.Process.Kill()
		<-n.exited
		assert.NoError(c, out.Close())
	})
	return n
}

// end kills a node or lets it leave.
func (c *churnTest) end(n *churnNode) {
	if n.killed {
		_ = n.cmd.Process.Kill() // the exit tells
	} else {
		n.ask(c.T, "leave")
	}
	select {
	case <-n.exited:
	case <-time.After(churnPatience):
		assert.Fail(c, "a node has not ended", "node %d", n.id)
	}
	if !n.killed {
		assert.Zero(c, n.cmd.ProcessState.ExitCode(), "node %d", n.id)
	}
}

// read returns the next line that the node prints.
func (n *churnNode) read(t *testing.T) string {
	t.Helper()
	line, err := n.out.ReadString('\n')
	if err != nil {
		t.Errorf("node %d: %v", n.id, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// ask gives an order, and takes the report if one comes.
func (n *churnNode) ask(t *testing.T, order string) string {
	t.Helper()
	_, err := fmt.Fprintln(n.in, order)
	if err != nil {
		t.Errorf("node %d: %v", n.id, err)
	}
	answer := n.read(t)
	if report, ok := strings.CutPrefix(answer, "report "); ok {
		n.report = churnReport{}
		assert.NoError(t, json.Unmarshal([]byte(report), &n.report), "node %d", n.id)
	}
	return answer
}

// settle ends the sending, and waits until all that live know what has happened.
func (c *churnTest) settle() {
	c.Helper()
	for _, n := range c.live {
		require.Equal(c, "stopped <nil>", n.ask(c.T, "stop"), "node %d", n.id)
	}
	for _, n := range c.live {
		require.Eventually(c, func() bool {
			n.ask(c.T, "report")
			return n.report.Peers == len(c.live)-1 && (n.forget || c.knowsAll(n))
		}, churnPatience, 20*time.Millisecond, "node %d", n.id)
	}
}

// knowsAll reports whether a node has the number of events that it must come to.
func (c *churnTest) knowsAll(n *churnNode) bool {
	joined, left := 0, 0
	for _, event := range n.report.Events {
		switch event.Type {
		case peer.Joined:
			joined++
		case peer.Left:
			left++
		}
	}
	return joined-left == len(c.live)-1
}

// victims chooses nodes that run, some at random.
func (c *churnTest) victims(count int) (victims []*churnNode) {
	for _, i := range rand.Perm(len(c.live))[:count] {
		victims = append(victims, c.live[i])
	}
	return victims
}

// TestChurn lets processes join, leave and die under a load of messages, and then holds what each of them saw against what
// has happened.
func TestChurn(t *testing.T) {
	nodes, ends := churnNodes, churnEnds
	if os.Getenv(soakVariable) != "" {
		nodes, ends = soakNodes, soakEnds
	}
	c := newChurnTest(t)
	c.replace(nil, nodes)
	for left := ends; left > 0; {
		count := min(left, 1+rand.IntN(3))
		c.replace(c.victims(count), count)
		left -= count
	}
	c.settle()
	for _, n := range c.all {
		if !n.killed {
			assert.Empty(t, n.report.Faults, "node %d", n.id)
			c.checkEvents(n)
			c.checkMessages(n)
		}
	}
	c.checkResources()
}

// checkEvents: each join and each leave was seen once, for the right reason, by all that were there.
func (c *churnTest) checkEvents(n *churnNode) {
	seen := make(map[string][]peer.Event)
	for _, event := range n.report.Events {
		incarnation := event.Peer.Incarnation.String()
		seen[incarnation] = append(seen[incarnation], event)
	}
	for _, other := range c.all {
		events := seen[other.incarnation]
		delete(seen, other.incarnation)
		if other == n {
			assert.Empty(c, events)
			continue
		}
		must := c.met(n, other)
		assert.True(c, len(events) > 0 || !must, "node %d never saw node %d", n.id, other.id)
		for i, event := range events {
			assert.Equal(c, []any{other.id, other.id, other.cmd.Process.Pid},
				[]any{event.Peer.ID, event.Peer.Slot, event.Peer.PID})
			assert.Equal(c, []peer.EventType{peer.Joined, peer.Left, 0}[min(i, 2)], event.Type, "node %d of %d", n.id, other.id)
			if event.Type == peer.Left {
				want := peer.ReasonLeft
				if other.killed {
					want = peer.ReasonDied
				}
				assert.Equal(c, want, event.Reason, "node %d of %d", n.id, other.id)
			}
		}
		if n.ended == 0 && len(events) > 0 {
			assert.Equal(c, other.ended != 0, len(events) == 2, "node %d of node %d: %v", n.id, other.id, events)
		}
	}
	assert.Empty(c, seen, "nodes that never were")
}

// met reports whether both nodes were ready when neither was about to end.
func (c *churnTest) met(a, b *churnNode) bool {
	return (a.ended == 0 || a.ended > b.born) && (b.ended == 0 || b.ended > a.born)
}

// checkMessages: what a node that was not killed has sent has arrived at all that were not killed, and did not leave
// before.
func (c *churnTest) checkMessages(sender *churnNode) {
	for _, receiver := range c.live {
		if receiver == sender || !c.met(sender, receiver) {
			continue
		}
		r := receiver.report
		assert.Equal(c, sender.report.Sent[receiver.incarnation], r.Got[sender.incarnation],
			"from node %d to node %d", sender.id, receiver.id)
		heard, some := r.Heard[sender.incarnation]
		ended := cmp.Or(sender.ended, c.step+1)                        // by the end of the test
		if inPassing := ended == receiver.born+1; some || !inPassing { // else it may have sent none in that time
			assert.Equal(c, sender.report.Broadcast, heard, "from node %d to all, at node %d", sender.id, receiver.id)
		}
	}
}

// checkResources: the oldest node holds no more than the newest.
func (c *churnTest) checkResources() {
	oldest, newest := c.live[0], c.live[0]
	for _, n := range c.live {
		if n.born < oldest.born {
			oldest = n
		}
		if n.born > newest.born {
			newest = n
		}
	}
	assert.Eventually(c, func() bool {
		oldest.ask(c.T, "report")
		newest.ask(c.T, "report")
		return oldest.report.Descriptors == newest.report.Descriptors &&
			oldest.report.Goroutines <= mostGoroutines(len(c.live))
	}, churnPatience, 100*time.Millisecond)
	c.Logf("descriptors %d and %d, goroutines %d and %d, heap %d and %d kB",
		oldest.report.Descriptors, newest.report.Descriptors, oldest.report.Goroutines, newest.report.Goroutines,
		oldest.report.Heap>>10, newest.report.Heap>>10)
}

// mostGoroutines is how many goroutines a node may have: of each link that of the mesh, that of the bus and idle workers, and
// some of its own.
func mostGoroutines(nodes int) int { return (nodes-1)*(2+maxIdle) + 10 }

// TestSoak is TestChurn for a long time, with one node that stays: its descriptors, goroutines and memory stay flat.
func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv(soakVariable))
	if err != nil {
		t.Skipf("takes minutes: run `make soak`, or set %s=10m", soakVariable)
	}
	c := newChurnTest(t)
	c.forget = true
	c.replace(nil, 1)
	resident := c.live[0]
	c.forget = false
	c.replace(nil, soakNodes-1)
	var heaps []uint64
	for begin := time.Now(); time.Since(begin) < duration; {
		victims := slices.DeleteFunc(c.victims(2), func(n *churnNode) bool { return n == resident })
		c.replace(victims, len(victims))
		resident.ask(t, "report")
		heaps = append(heaps, resident.report.Heap)
		if len(heaps)%100 == 1 {
			t.Logf("%v: %d nodes so far, heap %d kB, %d goroutines, %d descriptors", time.Since(begin).Round(time.Second),
				len(c.all), resident.report.Heap>>10, resident.report.Goroutines, resident.report.Descriptors)
		}
	}
	c.settle()
	c.checkResources()
	assert.Empty(t, resident.report.Faults)
	quarter := len(heaps) / 4
	early, late := median(heaps[:quarter]), median(heaps[len(heaps)-quarter:])
	t.Logf("%d nodes in all; heap %d kB in the first quarter, %d kB in the last, %d kB at most",
		len(c.all), early>>10, late>>10, slices.Max(heaps)>>10)
	assert.Less(t, late, early+early/10, "memory grows")
}

func median(values []uint64) uint64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
