package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// client does what the page does: it comes back when its connection ends, says again what is not acknowledged, and
// keeps what it is told in order.
type client struct {
	addr  string
	leave func()       // for good
	id    atomic.Int64 // of the node that it is on, or was on last

	mu      sync.Mutex // guards the fields below, except changed
	changed *sync.Cond
	name    string
	conn    *websocket.Conn // nil while there is none
	pid     int
	order   []message
	pending []message // ID and Text
	acked   []string
	refused map[string]string
	people  []person
	welcome int                  // how many have come
	keep    int                  // how many messages are kept
	closed  websocket.StatusCode // of the last connection that has ended
}

// enter makes a client, and returns when it has been welcomed.
func enter(t *testing.T, addr, name string) *client {
	t.Helper()
	c := &client{addr: addr, name: name, refused: make(map[string]string)}
	c.changed = sync.NewCond(&c.mu)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // Cleanup ends it and waits for it
		defer close(ended)
		c.run(ctx)
	}()
	c.leave = func() {
		cancel()
		<-ended
	}
	t.Cleanup(c.leave)
	c.await(t, "to be welcomed", func() bool { return c.welcome > 0 })
	return c
}

// run keeps a connection.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, _, err := websocket.Dial(ctx, "ws://"+c.addr+"/socket", nil)
		if err != nil {
			time.Sleep(10 * time.Millisecond) // the back-off of the page, and not a wait for something
			continue
		}
		conn.SetReadLimit(-1)
		c.converse(ctx, conn)
		conn.CloseNow()
	}
}

func (c *client) converse(ctx context.Context, conn *websocket.Conn) {
	c.mu.Lock()
	hello := request{Type: "hello", Name: c.name}
	for _, m := range c.order {
		hello.Have = append(hello.Have, ref{m.ID, m.stamp})
	}
	c.mu.Unlock()
	if conn.Write(ctx, websocket.MessageText, encode(hello)) != nil {
		return
	}
	defer c.set(func() { c.conn = nil })
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			c.set(func() { c.closed = websocket.CloseStatus(err) })
			return
		}
		c.set(func() { c.take(ctx, conn, data) })
	}
}

// set changes what mu guards.
func (c *client) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.changed.Broadcast()
}

func (c *client) take(ctx context.Context, conn *websocket.Conn, data []byte) {
	var told struct {
		welcome
		Message message
		ID, Why string
		People  []person
	}
	if err := json.Unmarshal(data, &told); err != nil {
		panic(err)
	}
	switch told.Type {
	case "welcome":
		c.welcome++
		c.conn, c.pid = conn, told.PID
		c.id.Store(int64(told.Node))
		c.keep = told.Keep
		c.order = slices.DeleteFunc(c.order, func(m message) bool { return slices.Contains(told.Gone, m.ID) })
		for _, m := range told.Messages {
			c.put(m)
		}
		for _, m := range c.pending {
			c.write(ctx, request{Type: "say", ID: m.ID, Text: m.Text})
		}
	case "message":
		c.put(told.Message)
	case "ack":
		c.acked = append(c.acked, told.ID)
		c.settle(told.ID)
	case "refused":
		c.refused[told.ID] = told.Why
		c.settle(told.ID)
	case "online":
		c.people = told.People
	}
}

func (c *client) put(m message) {
	c.order = slices.DeleteFunc(c.order, func(other message) bool { return other.ID == m.ID })
	i, _ := slices.BinarySearchFunc(c.order, m.stamp, func(m message, s stamp) int { return m.compare(s) })
	c.order = slices.Insert(c.order, i, m)
	c.order = c.order[max(0, len(c.order)-c.keep):] // what it has it tells, and that is bounded
}

func (c *client) node() int { return int(c.id.Load()) }

func (c *client) settle(id string) {
	c.pending = slices.DeleteFunc(c.pending, func(m message) bool { return m.ID == id })
}

func (c *client) write(ctx context.Context, r request) {
	_ = c.conn.Write(ctx, websocket.MessageText, encode(r)) // what is lost is said again
}

// post says something and returns its id.
func (c *client) post(text string) string {
	id := rand.Text()
	c.set(func() {
		c.pending = append(c.pending, message{ID: id, Text: text})
		if c.conn != nil {
			c.write(context.Background(), request{Type: "say", ID: id, Text: text})
		}
	})
	return id
}

// say says something and waits until it is acknowledged.
func (c *client) say(t *testing.T, text string) string {
	t.Helper()
	id := c.post(text)
	c.await(t, "the receipt for "+text, func() bool { return slices.Contains(c.acked, id) })
	return id
}

// await waits until ok, which is called with mu held.
func (c *client) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() { c.set(func() { late = true }) })
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok() && !late {
		c.changed.Wait()
	}
	if !ok() {
		require.Fail(t, c.name+" waits for "+what, "node %d, %d messages, %d pending, %d acknowledged, online %v",
			c.node(), len(c.order), len(c.pending), len(c.acked), c.people)
	}
}

func (c *client) awaitTexts(t *testing.T, want ...string) {
	t.Helper()
	c.await(t, "messages", func() bool { return len(c.order) >= len(want) })
	assert.Equal(t, want, c.texts())
}

func (c *client) texts() []string {
	var texts []string
	for _, m := range c.conversation() {
		texts = append(texts, m.Text)
	}
	return texts
}

func (c *client) conversation() []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.order)
}

// connected waits until there is a connection, and returns the process that it is to.
func (c *client) connected(t *testing.T) (pid int) {
	t.Helper()
	c.await(t, "a connection", func() bool {
		pid = c.pid
		return c.conn != nil
	})
	return pid
}

func (c *client) receipts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.acked)
}

func (c *client) lastClose() websocket.StatusCode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
