package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cmd/internal/demotest"
)

// enterNodes returns clients on so many different nodes, and as many as that took.
func enterNodes(t *testing.T, p *demotest.Program, nodes int) (different, all []*client) {
	t.Helper()
	on := make(map[int]bool)
	for len(on) < nodes {
		require.Less(t, len(all), 200, "the kernel does not spread the connections")
		c := enter(t, p.Addr, fmt.Sprintf("client %03d", len(all)))
		all = append(all, c)
		if !on[c.node()] {
			on[c.node()] = true
			different = append(different, c)
		}
	}
	return different, all
}

// killNode ends the process that a client is on as a fatal error would, and waits until the client is on another one.
func killNode(t *testing.T, c *client) {
	t.Helper()
	for killed := false; !killed; {
		pid := c.connected(t)
		err := signal(pid, syscall.SIGKILL)
		killed = err == nil
		if !killed { // it was killed under another client, and this one did not know yet
			require.ErrorIs(t, err, os.ErrProcessDone)
		}
		c.await(t, "another node", func() bool { return c.conn != nil && c.pid != pid })
	}
}

func signal(pid int, s syscall.Signal) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer process.Release()
	return process.Signal(s)
}

func TestMessageReachesAllNodes(t *testing.T) {
	p := demotest.Start(t, "-nodes", "4")
	different, all := enterNodes(t, p, 4)
	var want []string
	for i, c := range different {
		text := fmt.Sprintf("message %d", i)
		c.say(t, text)
		want = append(want, text)
	}
	late := enter(t, p.Addr, "late")
	for _, c := range append(all, late) {
		c.awaitTexts(t, want...)
		for i, m := range c.conversation() {
			assert.Equal(t, different[i].node(), m.Node)
			assert.Equal(t, different[i].name, m.Name)
		}
	}
}

// Nothing that was acknowledged is lost, doubled or in another order anywhere, while nodes are killed under the clients
// that are talking.
func TestKillUnderMessages(t *testing.T) {
	const talkers, each, kills = 10, 25, 3
	p := demotest.Start(t, "-nodes", "4", "-history", "5000")
	_, clients := enterNodes(t, p, 4)
	for len(clients) < talkers {
		clients = append(clients, enter(t, p.Addr, fmt.Sprintf("client %03d", len(clients))))
	}
	var talking sync.WaitGroup
	for _, c := range clients {
		talking.Go(func() { // the test waits for it
			for i := range each {
				c.post(fmt.Sprintf("%s says %d", c.name, i))
				time.Sleep(20 * time.Millisecond) // people pause
			}
		})
	}
	for i := range kills {
		c := clients[i]
		c.await(t, "an acknowledged message", func() bool { return len(c.acked) >= 5*(i+1) })
		killNode(t, c)
	}
	talking.Wait()

	total := each * len(clients)
	for _, c := range clients {
		c.await(t, "all receipts", func() bool { return len(c.pending) == 0 })
	}
	late := enter(t, p.Addr, "late")
	for _, c := range append(clients, late) {
		c.await(t, "all messages", func() bool { return len(c.order) >= total })
	}
	want := late.conversation()
	require.Len(t, want, total, "each message is there once")
	for _, c := range clients {
		assert.Equal(t, want, c.conversation(), "%s has the same in the same order", c.name)
		for _, id := range c.acked {
			assert.True(t, slices.ContainsFunc(want, func(m message) bool { return m.ID == id }), "%s was acknowledged", id)
		}
	}
}

// The history outlives each of the nodes that it was told to.
func TestHistoryOutlivesNodes(t *testing.T) {
	p := demotest.Start(t, "-nodes", "3")
	c := enter(t, p.Addr, "Ada")
	c.say(t, "still here")
	for range 2 { // generations
		different, _ := enterNodes(t, p, 3)
		for _, d := range different {
			d.connected(t)
			lost := d.node()
			killNode(t, d)
			awaitReplaced(t, p, lost)
		}
	}
	enter(t, p.Addr, "late").awaitTexts(t, "still here")
}

// awaitReplaced waits until three nodes answer and the one that was lost is not among them.
func awaitReplaced(t *testing.T, p *demotest.Program, lost int) {
	t.Helper()
	require.Eventually(t, func() bool {
		on := make(map[int]bool)
		for range 30 {
			var node struct{ Node int }
			_, body, err := p.Do(nil, http.MethodGet, "/node", "")
			if err != nil || json.Unmarshal([]byte(body), &node) != nil {
				return false
			}
			on[node.Node] = true
		}
		return len(on) == 3 && !on[lost]
	}, patience, 10*time.Millisecond)
}

func TestPresence(t *testing.T) {
	p := demotest.Start(t, "-nodes", "3")
	different, all := enterNodes(t, p, 3)
	showsAll := func(c *client) func() bool {
		return func() bool {
			if len(c.people) != len(all) {
				return false
			}
			for _, other := range all {
				if !slices.ContainsFunc(c.people, func(q person) bool {
					return q.Name == other.name && slices.Equal(q.Nodes, []int{other.node()})
				}) {
					return false
				}
			}
			return true
		}
	}
	for _, c := range all {
		c.await(t, "everybody", showsAll(c))
	}
	killNode(t, different[0])
	for _, c := range all {
		c.await(t, "everybody, where they are now", showsAll(c))
	}
	different[1].leave()
	all = slices.DeleteFunc(all, func(c *client) bool { return c == different[1] })
	for _, c := range all {
		c.await(t, "everybody but who has left", showsAll(c))
	}
}

func TestStoppedNodeSendsItsBrowsersAway(t *testing.T) {
	p := demotest.Start(t, "-nodes", "2")
	different, _ := enterNodes(t, p, 2)
	c, other := different[0], different[1]
	id := c.say(t, "before")
	pid := c.connected(t)
	require.NoError(t, signal(pid, syscall.SIGTERM))
	c.await(t, "another node", func() bool { return c.conn != nil && c.pid != pid })
	assert.Equal(t, websocket.StatusGoingAway, c.lastClose())
	c.say(t, "after")
	other.awaitTexts(t, "before", "after")
	assert.Equal(t, id, other.conversation()[0].ID)
	p.Signal(t, syscall.SIGTERM)
	assert.Zero(t, p.Wait())
}

func TestMasterListen(t *testing.T) {
	p := demotest.Start(t, "-nodes", "2", "-master-listen")
	different, _ := enterNodes(t, p, 2)
	different[0].say(t, "to the other")
	different[1].awaitTexts(t, "to the other")
	assert.Contains(t, []int{different[0].node(), different[1].node()}, 0)
}
