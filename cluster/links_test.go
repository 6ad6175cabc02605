//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// circle is the view of a node of the program "talk" on the other nodes, as lists of ids.
type circle struct {
	ID     int
	Peers  []int // of Node.Peers
	Heard  []int // that said their ids on the streams of OnNode
	Answer []int // that answered on the bus
}

// talk is a program whose nodes talk with each other in each way that there is.
func talk() error {
	opts, _ := options()
	told := make(chan *Node, 1)
	var heardMu sync.Mutex
	var heard []int
	n, err := Listen(opts, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := <-told
		told <- n
		heardMu.Lock()
		c := circle{ID: n.ID(), Heard: slices.Clone(heard)}
		heardMu.Unlock()
		for _, p := range n.Peers() {
			c.Peers = append(c.Peers, p.ID)
		}
		answers, err := n.Bus().RequestAll(r.Context(), "who", "are you?")
		for _, a := range answers {
			id := 0
			if a.Err == nil {
				err = errors.Join(err, a.Decode(&id))
				c.Answer = append(c.Answer, id)
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(c)
	})})
	if err != nil {
		return err
	}
	told <- n
	n.OnNode(func(s *peer.Stream) {
		defer s.Close()
		id := 0
		_, err := fmt.Fprintln(s, n.ID())
		if err == nil {
			_, err = fmt.Fscanln(s, &id)
		}
		if err != nil || id != s.Peer().ID {
			fmt.Println("bad stream", id, err)
			return
		}
		heardMu.Lock()
		heard = append(heard, id)
		heardMu.Unlock()
		_, _ = io.Copy(io.Discard, s) // until the peer is gone
		heardMu.Lock()
		heard = slices.DeleteFunc(heard, func(other int) bool { return other == id })
		heardMu.Unlock()
	})
	_, err = n.Bus().Subscribe("who", func(context.Context, bus.Message) (any, error) { return n.ID(), nil })
	if err != nil {
		return err
	}
	return waitTelling(n)
}

func TestNodesTalk(t *testing.T) {
	c := run(t, "talk", programOptions{Nodes: 4})
	addr := c.printed(t, "ready", 1)
	awaitCircles(t, addr, []int{0, 1, 2, 3})
	victim := c.told(t, control.EventStarted, 2)
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGKILL))
	var rest []int
	for _, id := range []int{0, 1, 2, 3, 4} {
		if id != victim.ID {
			rest = append(rest, id)
		}
	}
	awaitCircles(t, addr, rest)
	assert.NotContains(t, c.out.text(), "bad stream")
}

// awaitCircles waits until each of these nodes is linked with all the others and with no other process.
func awaitCircles(t *testing.T, addr string, ids []int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	seen := make(map[int]bool)
	require.Eventually(t, func() bool {
		response, err := client.Get("http://" + addr)
		if err != nil {
			return false // of the killed node
		}
		defer response.Body.Close()
		var c circle
		if json.NewDecoder(response.Body).Decode(&c) != nil {
			return false
		}
		others := slices.DeleteFunc(slices.Clone(ids), func(id int) bool { return id == c.ID })
		slices.Sort(c.Heard)
		complete := slices.Equal(c.Peers, others) && slices.Equal(c.Heard, others) && slices.Equal(c.Answer, others)
		seen[c.ID] = complete && slices.Contains(ids, c.ID)
		for _, id := range ids {
			if !seen[id] {
				return false
			}
		}
		return true
	}, patience, time.Millisecond)
}
