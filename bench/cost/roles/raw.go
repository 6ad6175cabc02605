package roles

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// What a raw connection is for: its first byte.
const (
	rawEcho  = 'e'
	rawCount = 'c'
)

const (
	// readBuffer is what one Read takes at most where many messages come one after the other, in bytes.
	readBuffer = 64 << 10
	// batchSize is how many messages go in one Write where they wait for each other.
	batchSize = 64
)

func (p Player) socket(id int) string { return filepath.Join(p.Dir, fmt.Sprintf("%d.sock", id)) }

// accept serves each connection on the player's own socket in a goroutine of its own. The goroutines end with the process.
func (p Player) accept(serve func(net.Conn)) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", p.socket(p.ID))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go serve(conn)
		}
	}()
	return l, nil
}

// dial connects to a peer, and writes what the peer reads first. The connection ends with the process.
func (p Player) dial(ctx context.Context, id int, first []byte) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", p.socket(id))
	if err != nil {
		return nil, err
	}
	_, err = conn.Write(first)
	return conn, err
}

// dialPeers connects a leader to its peers.
func (p Player) dialPeers(ctx context.Context, first []byte) (conns []net.Conn, err error) {
	for id := 1; id <= p.Peers; id++ {
		conn, err := p.dial(ctx, id, first)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// followRaw answers with what one writes without a library: each message is one Read and one Write.
func followRaw(p Player) (io.Closer, error) { return p.accept(serveRaw) }

func serveRaw(conn net.Conn) {
	defer conn.Close()
	purpose := make([]byte, 1)
	if _, err := io.ReadFull(conn, purpose); err != nil {
		return
	}
	switch purpose[0] {
	case rawEcho:
		echoRaw(conn)
	case rawCount:
		countRaw(conn)
	}
}

func echoRaw(conn net.Conn) {
	message := make([]byte, MessageSize)
	for {
		if _, err := io.ReadFull(conn, message); err != nil {
			return
		}
		if _, err := conn.Write(message); err != nil {
			return
		}
	}
}

// countRaw takes as many messages with a Read as are there.
func countRaw(conn net.Conn) {
	buf := make([]byte, readBuffer)
	var total uint64
	for {
		n, err := conn.Read(buf)
		total += uint64(n)
		if errors.Is(err, io.EOF) {
			_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, total/MessageSize)) // the leader misses it if it fails
		}
		if err != nil {
			return
		}
	}
}

// rawLeader writes to all peers and then reads from all, in one goroutine.
type rawLeader struct {
	ctx    context.Context // of the process
	player Player
	conns  []net.Conn
	buf    []byte
}

func newRawLeader(ctx context.Context, p Player) (*rawLeader, error) {
	conns, err := p.dialPeers(ctx, []byte{rawEcho})
	return &rawLeader{ctx: ctx, player: p, conns: conns, buf: make([]byte, MessageSize)}, err
}

func leadRaw(ctx context.Context, p Player) (leader, error) {
	l, err := newRawLeader(ctx, p)
	return l.with(l.exchange, l.link), err
}

// leadBatches has a link that writes many messages at once.
func leadBatches(ctx context.Context, p Player) (leader, error) {
	l, err := newRawLeader(ctx, p)
	return l.with(l.exchange, l.batches), err
}

// with has an exchange with some of the connections, and links.
func (l *rawLeader) with(exchange func([]net.Conn) error, connect func() (link, error)) leader {
	roundTrip := func() error { return exchange(l.conns[:1]) }
	fanOut := func() error { return exchange(l.conns) }
	return leader{nothing, messages(roundTrip, fanOut, connect)}
}

func (l *rawLeader) exchange(conns []net.Conn) error {
	for _, conn := range conns {
		if _, err := conn.Write(l.buf); err != nil {
			return err
		}
	}
	for _, conn := range conns {
		if _, err := io.ReadFull(conn, l.buf); err != nil {
			return err
		}
	}
	return nil
}

func (l *rawLeader) dialCount() (*net.UnixConn, error) {
	conn, err := l.player.dial(l.ctx, 1, []byte{rawCount})
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// link writes each message by itself.
func (l *rawLeader) link() (link, error) {
	conn, err := l.dialCount()
	message := make([]byte, MessageSize)
	send := func() error {
		_, err := conn.Write(message)
		return err
	}
	return link{send, func() (int64, error) { return finishRaw(conn) }}, err
}

func finishRaw(conn *net.UnixConn) (int64, error) {
	defer conn.Close()
	if err := conn.CloseWrite(); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return 0, err
	}
	return total(answer)
}

// batches shows what the socket can carry. It is no way to send: a message waits for those that come after it.
func (l *rawLeader) batches() (link, error) {
	conn, err := l.dialCount()
	var mu sync.Mutex // guards out
	out, message := bufio.NewWriterSize(conn, batchSize*MessageSize), make([]byte, MessageSize)
	send := func() error {
		mu.Lock()
		defer mu.Unlock()
		_, err := out.Write(message)
		return err
	}
	finish := func() (int64, error) {
		if err := out.Flush(); err != nil {
			return 0, err
		}
		return finishRaw(conn)
	}
	return link{send, finish}, err
}

// readersLeader is the raw one with a goroutine for each peer, which reads its answers.
type readersLeader struct {
	*rawLeader
	missing atomic.Int64 // answers that have not come yet
	done    chan error   // the last one has come, or a reader has failed
}

func leadWithReaders(ctx context.Context, p Player) (leader, error) {
	Raw, err := newRawLeader(ctx, p)
	if err != nil {
		return leader{}, err
	}
	l := &readersLeader{rawLeader: Raw, done: make(chan error, len(Raw.conns))}
	for _, conn := range l.conns {
		go l.read(conn) // ends with its connection, or with the process
	}
	return l.with(l.exchange, l.link), nil
}

func (l *readersLeader) read(conn net.Conn) {
	answer := make([]byte, MessageSize)
	for {
		if _, err := io.ReadFull(conn, answer); err != nil {
			l.done <- err
			return
		}
		if l.missing.Add(-1) == 0 {
			l.done <- nil
		}
	}
}

func (l *readersLeader) exchange(conns []net.Conn) error {
	l.missing.Store(int64(len(conns)))
	for _, conn := range conns {
		if _, err := conn.Write(l.buf); err != nil {
			return err
		}
	}
	return <-l.done
}
