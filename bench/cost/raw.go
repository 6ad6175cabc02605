package cost

import (
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

// readBuffer is what one Read takes at most where many messages come one after the other, in bytes.
const readBuffer = 64 << 10

// acceptor accepts connections on the player's own socket, and serves each in a goroutine of its own.
type acceptor struct {
	net.Listener
	running sync.WaitGroup
}

func (p player) socket(id int) string { return filepath.Join(p.Dir, fmt.Sprintf("%d.sock", id)) }

func (p player) accept(serve func(net.Conn)) (*acceptor, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", p.socket(p.ID))
	if err != nil {
		return nil, err
	}
	a := &acceptor{Listener: l}
	a.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			a.running.Go(func() { serve(conn) })
		}
	})
	return a, nil
}

// Close returns when all connections have ended, which is up to the leader.
func (a *acceptor) Close() error {
	err := a.Listener.Close()
	a.running.Wait()
	return err
}

// dial connects to a peer.
func (p player) dial(ctx context.Context, id int) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", p.socket(id))
}

// followRaw answers with what one writes without a library: each message is one Read and one Write.
func followRaw(p player) (io.Closer, error) { return p.accept(serveRaw) }

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
	message := make([]byte, messageSize)
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
			_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, total/messageSize)) // the leader misses it if it fails
			return
		}
		if err != nil {
			return
		}
	}
}

// rawLeader writes to all peers and then reads from all, in one goroutine.
type rawLeader struct {
	ctx    context.Context // of the process
	player player
	conns  []net.Conn
	buf    []byte
}

func leadRaw(ctx context.Context, p player) (leader, error) { return newRawLeader(ctx, p) }

func newRawLeader(ctx context.Context, p player) (*rawLeader, error) {
	l := &rawLeader{ctx: ctx, player: p, buf: make([]byte, messageSize)}
	for id := 1; id <= p.Peers; id++ {
		conn, err := l.dial(id, rawEcho)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

func (l *rawLeader) dial(id int, purpose byte) (net.Conn, error) {
	conn, err := l.player.dial(l.ctx, id)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{purpose}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (l *rawLeader) roundTrip() error { return l.exchange(l.conns[:1]) }
func (l *rawLeader) fanOut() error    { return l.exchange(l.conns) }

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

func (l *rawLeader) link() (link, error) {
	conn, err := l.dial(1, rawCount)
	if err != nil {
		return nil, err
	}
	return &rawLink{conn: conn, message: make([]byte, messageSize)}, nil
}

func (l *rawLeader) Close() (err error) {
	for _, conn := range l.conns {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// rawLink writes each message by itself.
type rawLink struct {
	conn    net.Conn
	message []byte
}

func (l *rawLink) send() error {
	_, err := l.conn.Write(l.message)
	return err
}

func (l *rawLink) finish() (int64, error) {
	defer l.conn.Close()
	if err := l.conn.(*net.UnixConn).CloseWrite(); err != nil {
		return 0, err
	}
	count := make([]byte, 8)
	_, err := io.ReadFull(l.conn, count)
	return int64(binary.BigEndian.Uint64(count)), err
}

// batchLeader is the raw one whose link writes many messages at once.
type batchLeader struct{ *rawLeader }

func leadBatches(ctx context.Context, p player) (leader, error) {
	l, err := newRawLeader(ctx, p)
	return batchLeader{l}, err
}

func (l batchLeader) link() (link, error) {
	raw, err := l.rawLeader.link()
	if err != nil {
		return nil, err
	}
	return &batchLink{rawLink: raw.(*rawLink)}, nil
}

// batchLink shows what the socket can carry. It is no way to send: a message waits for those that come after it.
type batchLink struct {
	*rawLink
	mu  sync.Mutex // guards buf
	buf []byte
}

// batchSize is how many messages go in one Write.
const batchSize = 64

func (l *batchLink) send() (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, l.message...)
	if len(l.buf) == batchSize*messageSize {
		_, err = l.conn.Write(l.buf)
		l.buf = l.buf[:0]
	}
	return err
}

func (l *batchLink) finish() (int64, error) {
	if _, err := l.conn.Write(l.buf); err != nil {
		return 0, err
	}
	return l.rawLink.finish()
}

// readersLeader is the raw one with a goroutine for each peer, which reads its answers.
type readersLeader struct {
	*rawLeader
	missing atomic.Int64 // answers that have not come yet
	done    chan error   // the last one has come, or a reader has failed
	readers sync.WaitGroup
}

func leadWithReaders(ctx context.Context, p player) (leader, error) {
	raw, err := newRawLeader(ctx, p)
	if err != nil {
		return nil, err
	}
	l := &readersLeader{rawLeader: raw, done: make(chan error, len(raw.conns))}
	for _, conn := range l.conns {
		l.readers.Go(func() { l.read(conn) }) // until Close
	}
	return l, nil
}

func (l *readersLeader) read(conn net.Conn) {
	answer := make([]byte, messageSize)
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

func (l *readersLeader) fanOut() error    { return l.exchange(l.conns) }
func (l *readersLeader) roundTrip() error { return l.exchange(l.conns[:1]) }

func (l *readersLeader) exchange(conns []net.Conn) error {
	l.missing.Store(int64(len(conns)))
	for _, conn := range conns {
		if _, err := conn.Write(l.buf); err != nil {
			return err
		}
	}
	return <-l.done
}

func (l *readersLeader) Close() error {
	err := l.rawLeader.Close()
	l.readers.Wait()
	return err
}
