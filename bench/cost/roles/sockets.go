package roles

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/framing"
)

const (
	// readBuffer is what one Read takes at most where many messages come one after the other, in bytes.
	readBuffer = 64 << 10
	// batchSize is how many messages go in one Write where they wait for each other.
	batchSize = 64
)

func (p Player) socket(id int) string { return filepath.Join(p.Dir, fmt.Sprintf("%d.sock", id)) }

// accept serves each connection on the player's own socket in a goroutine of its own. They end with the process.
func (p Player) accept(ctx context.Context, serve func(net.Conn)) error {
	l, err := new(net.ListenConfig).Listen(ctx, "unix", p.socket(p.ID))
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return nil
}

// dialPeers connects to the peers. The connections end with the process.
func (p Player) dialPeers(ctx context.Context) (conns []net.Conn, err error) {
	for id := 1; id <= p.Peers; id++ {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", p.socket(id))
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// serveRaw answers with what one writes without a library: each answer is one Write. A Read takes as many messages as are there.
func serveRaw(ctx context.Context, p Player, answer answerFunc) error {
	return p.accept(ctx, func(conn net.Conn) {
		defer conn.Close()
		for in := bufio.NewReaderSize(conn, readBuffer); ; {
			if _, err := in.Peek(MessageSize); err != nil {
				return // the leader has hung up
			}
			messages, _ := in.Peek(in.Buffered() / MessageSize * MessageSize) // they are there
			for m := range slices.Chunk(messages, MessageSize) {
				reply, err := answer("", m)
				if err == nil && reply != nil {
					_, err = conn.Write(reply)
				}
				if err != nil {
					return // the leader misses the answer
				}
			}
			_, _ = in.Discard(len(messages)) // they are there
		}
	})
}

// sendThenReceive is how a leader asks that has a connection to each peer, in one goroutine.
func sendThenReceive[C any](all []C, send func([]C, []byte) error, receive func(C) ([]byte, error)) askFunc {
	return func(topic string, question []byte, check func([]byte) error) error {
		conns := first(topic, all)
		if err := send(conns, question); err != nil {
			return err
		}
		for _, c := range conns {
			answer, err := receive(c)
			if err != nil {
				return err
			}
			if err := check(answer); err != nil {
				return err
			}
		}
		return nil
	}
}

func writeAll(conns []net.Conn, message []byte) error {
	for _, conn := range conns {
		if _, err := conn.Write(message); err != nil {
			return err
		}
	}
	return nil
}

// dialRaw has a leader that writes to all peers and then reads from all.
func dialRaw(ctx context.Context, p Player) (peers, error) {
	all, err := p.dialPeers(ctx)
	answer := make([]byte, MessageSize)
	receive := func(conn net.Conn) ([]byte, error) {
		_, err := io.ReadFull(conn, answer)
		return answer, err
	}
	return peers{
		ask:  sendThenReceive(all, writeAll, receive),
		send: func(message []byte) error { return writeAll(all[:1], message) },
	}, err
}

// dialReaders has a leader with a goroutine for each peer, which reads its answers.
func dialReaders(ctx context.Context, p Player) (peers, error) {
	all, err := p.dialPeers(ctx)
	var missing atomic.Int64           // answers that have not come yet
	done := make(chan error, len(all)) // the last one has come, or a reader has failed
	for _, conn := range all {
		go func() { // ends with its connection, or with the process
			answer := make([]byte, MessageSize)
			for {
				if _, err := io.ReadFull(conn, answer); err != nil {
					done <- err
					return
				}
				if missing.Add(-1) == 0 {
					done <- nil
				}
			}
		}()
	}
	return peers{ask: func(topic string, question []byte, _ func([]byte) error) error {
		conns := first(topic, all)
		missing.Store(int64(len(conns)))
		if err := writeAll(conns, question); err != nil {
			return err
		}
		return <-done
	}}, err
}

// batchWriter is a send as a Writer.
type batchWriter func([]byte) error

func (w batchWriter) Write(batch []byte) (int, error) { return len(batch), w(batch) }

// dialBatches shows what the socket can carry. It is no way to send: a message waits for those that come after it.
func dialBatches(ctx context.Context, p Player) (peers, error) {
	raw, err := dialRaw(ctx, p)
	var mu sync.Mutex // guards out
	out := bufio.NewWriterSize(batchWriter(raw.send), batchSize*MessageSize)
	return peers{
		ask: func(topic string, question []byte, check func([]byte) error) error {
			if err := out.Flush(); err != nil {
				return err
			}
			return raw.ask(topic, question, check)
		},
		send: func(message []byte) error {
			mu.Lock()
			defer mu.Unlock()
			_, err := out.Write(message)
			return err
		},
	}, err
}

// serveFramed is a peer with one framed stream to it.
func serveFramed(ctx context.Context, p Player, answer answerFunc) error {
	return p.accept(ctx, func(stream net.Conn) {
		c := framing.New(stream, framing.Options{})
		defer c.Close(framing.CodeNormal, "")
		_ = c.Serve(ctx, func(m framing.Message) (err error) { // it ends when the leader hangs up
			if m.Data, err = answer("", m.Data); err != nil || m.Data == nil {
				return err
			}
			return c.SendMessage(ctx, m)
		})
	})
}

// dialFramed has a leader that sends one message encoded once to all peers and then receives from all.
func dialFramed(ctx context.Context, p Player) (peers, error) {
	streams, err := p.dialPeers(ctx)
	var all []*framing.Conn
	for _, stream := range streams {
		all = append(all, framing.New(stream, framing.Options{}))
	}
	sendAll := func(conns []*framing.Conn, message []byte) error {
		encoded, err := framing.Encode(message)
		if err != nil {
			return err
		}
		for _, c := range conns {
			if err := c.SendEncoded(ctx, encoded); err != nil {
				return err
			}
		}
		return nil
	}
	receive := func(c *framing.Conn) ([]byte, error) {
		m, err := c.Receive(ctx)
		return m.Data, err
	}
	return peers{
		ask: sendThenReceive(all, sendAll, receive),
		send: func(message []byte) error {
			return all[0].SendMessage(ctx, framing.Message{Type: framing.Binary, Data: message})
		},
	}, err
}
