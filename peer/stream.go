package peer

import (
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// Stream is a stream of bytes to a peer. As with every net.Conn, its methods may be called concurrently, and Close
// ends the Reads and Writes in flight with an error that Is [net.ErrClosed].
type Stream struct {
	core   *core
	conn   *net.UnixConn
	name   string
	peer   Info
	local  net.Addr
	remote net.Addr

	earlyMu sync.Mutex
	early   []byte // came in one piece with the handshake; Read returns it first
}

var (
	_ net.Conn     = (*Stream)(nil)
	_ syscall.Conn = (*Stream)(nil)
)

// newStream takes over conn, which is tracked. It keeps no reference to early.
func newStream(c *core, conn *net.UnixConn, name string, peer Info, early []byte) *Stream {
	return &Stream{
		core:   c,
		conn:   conn,
		name:   name,
		peer:   peer,
		local:  socketAddr(c.dir, c.self),
		remote: remoteAddr(c, peer, conn),
		early:  append([]byte(nil), early...),
	}
}

func remoteAddr(c *core, peer Info, conn *net.UnixConn) net.Addr {
	if peer.ID < 0 {
		return conn.RemoteAddr()
	}
	return socketAddr(c.dir, peer)
}

func socketAddr(dir *rendezvous.Directory, info Info) net.Addr {
	if dir == nil { // a mesh of one
		return &net.UnixAddr{Net: "unix"}
	}
	return &net.UnixAddr{Name: filepath.Join(dir.Path(), info.node().SocketName()), Net: "unix"}
}

// Peer returns the node at the other end. A client of [Mesh.ListenWebSocket] has the id -1.
func (s *Stream) Peer() Info { return s.peer }

// Read returns io.EOF after the peer's Close, CloseWrite or death, and ECONNRESET if it died with data unread.
func (s *Stream) Read(b []byte) (int, error) {
	if n := s.readEarly(b); n > 0 {
		return n, nil
	}
	return s.conn.Read(b)
}

func (s *Stream) readEarly(b []byte) int {
	s.earlyMu.Lock()
	defer s.earlyMu.Unlock()
	n := copy(b, s.early)
	if s.early = s.early[n:]; len(s.early) == 0 {
		s.early = nil
	}
	return n
}

// Write blocks while the peer does not read and the socket's buffer is full: after less than 300 small writes.
func (s *Stream) Write(b []byte) (int, error) { return s.conn.Write(b) }

// CloseWrite ends what the peer reads. Reading continues.
func (s *Stream) CloseWrite() error { return s.conn.CloseWrite() }

// Close closes the stream.
func (s *Stream) Close() error { return s.core.release(s.conn) }

// LocalAddr returns the path of this node's socket, also after Dial.
func (s *Stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr returns the path of the peer's socket.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// SyscallConn returns the socket, for its options. What came with the handshake cannot be read there.
func (s *Stream) SyscallConn() (syscall.RawConn, error) { return s.conn.SyscallConn() }

// SetDeadline sets both deadlines, see [net.Conn].
func (s *Stream) SetDeadline(t time.Time) error { return s.conn.SetDeadline(t) }

// SetReadDeadline sets the deadline of Read, see [net.Conn].
func (s *Stream) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write, see [net.Conn].
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) }
