package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

const (
	greetTimeout = 10 * time.Second // for the first message of a browser
	writeTimeout = 10 * time.Second // for one message to a browser
	pingInterval = 20 * time.Second
	pingTimeout  = 10 * time.Second

	// maxQueue is how many messages may wait for a browser. A slower browser is cut: it connects again and catches up.
	maxQueue = 256
	// maxUnderway is how many of its messages may be on their way to other nodes.
	maxUnderway = 16
	// A browser that says more than this in a second waits: its connection is not read.
	maxRate, maxBurst = 20, 40
)

// session is the connection of one browser.
type session struct {
	conn   *websocket.Conn
	room   *room
	relay  *relay
	queue  chan any      // to the browser: []byte is encoded already
	crowdC chan struct{} // the people who are online have changed: holds one token for any number of changes
	slots  chan struct{} // one for each message on its way to other nodes
	rate   *rate.Limiter

	ending sync.Once
	endC   chan struct{} // closed by end
	code   websocket.StatusCode
	reason string // readable after endC, like code
}

func newSession(conn *websocket.Conn, room *room, relay *relay) *session {
	return &session{
		conn: conn, room: room, relay: relay, queue: make(chan any, maxQueue), crowdC: make(chan struct{}, 1),
		slots: make(chan struct{}, maxUnderway), rate: rate.NewLimiter(maxRate, maxBurst), endC: make(chan struct{}),
	}
}

// serve returns when the connection has ended.
func (s *session) serve(ctx context.Context) {
	hello, err := s.greeting(ctx)
	if err == nil {
		err = s.room.enter(s, hello.Name, hello.Have)
	}
	if err != nil {
		s.conn.Close(closeCode(err), err.Error())
		return
	}
	defer s.room.leave(s)
	written := make(chan struct{})
	go func() { // ends after end, for which serve waits
		defer close(written)
		s.write(ctx)
	}()
	err = s.read(ctx)
	s.end(closeCode(err), err.Error())
	<-written
}

// send never waits: a browser that does not keep up is cut.
func (s *session) send(v any) {
	select {
	case s.queue <- v:
	default:
		s.end(websocket.StatusTryAgainLater, tooSlow)
	}
}

const tooSlow = "the browser does not keep up"

// showCrowd makes the session send the people who are online to its browser.
func (s *session) showCrowd() {
	select {
	case s.crowdC <- struct{}{}:
	default: // it will be
	}
}

// end ends the connection, from any goroutine; the first call counts.
func (s *session) end(code websocket.StatusCode, reason string) {
	s.ending.Do(func() {
		s.code, s.reason = code, reason[:min(len(reason), 100)] // a close frame has 123 bytes for it
		close(s.endC)
		if reason == tooSlow && s.conn != nil { // write may be in the middle of a message, and wait for the browser
			go func() { _ = s.conn.CloseNow() }() // ends at once; it may be closed
		}
	})
}

// errProtocol is for a browser that is not ours.
var errProtocol = errors.New("not the protocol of this page")

func closeCode(err error) websocket.StatusCode {
	switch {
	case errors.Is(err, errClosing):
		return websocket.StatusGoingAway
	case errors.Is(err, errProtocol):
		return websocket.StatusPolicyViolation
	}
	return websocket.StatusNormalClosure // the browser has gone: the code is not sent
}

// greeting reads the first message.
func (s *session) greeting(ctx context.Context) (request, error) {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	s.conn.SetReadLimit(maxHello(s.room.keep))
	hello, err := s.next(ctx)
	if err != nil {
		return request{}, err
	}
	s.conn.SetReadLimit(maxRequest)
	if hello.Type != "hello" {
		return request{}, fmt.Errorf("%w: %q before hello", errProtocol, hello.Type)
	}
	if hello.Name, err = cleanName(hello.Name); err != nil {
		return request{}, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return hello, nil
}

// next reads one message.
func (s *session) next(ctx context.Context) (r request, err error) {
	kind, data, err := s.conn.Read(ctx)
	if err != nil {
		return request{}, err
	}
	if kind != websocket.MessageText {
		return request{}, fmt.Errorf("%w: a binary message", errProtocol)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return request{}, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return r, nil
}

// read does what the browser says, until the connection ends.
func (s *session) read(ctx context.Context) error {
	for {
		r, err := s.next(ctx)
		if err == nil {
			err = s.rate.Wait(ctx)
		}
		if err == nil {
			err = s.do(ctx, r)
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) do(ctx context.Context, r request) error {
	switch r.Type {
	case "name":
		name, err := cleanName(r.Name)
		if err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		s.room.rename(s, name)
		return nil
	case "say":
		return s.say(ctx, r)
	}
	return fmt.Errorf("%w: type %q", errProtocol, r.Type)
}

// say shows the message here at once, and tells the browser when every node has it.
func (s *session) say(ctx context.Context, r request) error {
	if err := checkID(r.ID); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	text, why := cleanText(r.Text)
	if why != "" {
		s.send(receipt{Type: "refused", ID: r.ID, Why: why})
		return nil
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.endC:
		return errClosing
	case <-ctx.Done():
		return ctx.Err()
	}
	m := s.room.say(s, r.ID, text)
	s.room.work.Go(func() { // ends when the message is with all nodes, even if its browser has gone; close waits for it
		defer func() { <-s.slots }()
		if s.relay.spread(context.WithoutCancel(ctx), m) == nil {
			s.send(receipt{Type: "ack", ID: r.ID})
		}
	})
	return nil
}

// write sends what is queued, until the connection ends. It then closes it, so that read returns.
func (s *session) write(ctx context.Context) {
	defer func() { _ = s.conn.CloseNow() }() // it may be closed
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-s.endC:
			s.close()
			return
		case v := <-s.queue:
			err = s.writeOne(ctx, v)
		case <-s.crowdC:
			err = s.writeOne(ctx, s.room.crowd())
		case <-ping.C:
			err = s.ping(ctx)
		}
		if err != nil {
			return
		}
	}
}

// close sends the reason, unless the browser is too slow.
func (s *session) close() {
	if s.reason != tooSlow {
		s.conn.Close(s.code, s.reason)
	}
}

func (s *session) writeOne(ctx context.Context, v any) error {
	frame, ok := v.([]byte)
	if !ok {
		frame = encode(v)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, frame)
}

// ping ends a connection whose browser has gone without a word.
func (s *session) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return s.conn.Ping(ctx)
}
