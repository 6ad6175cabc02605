package invalidate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
)

// memoryPrefix begins the names of the memory and of the streams over which its descriptor is sent. The number is the version of
// the table's layout.
const memoryPrefix = "multinode-cache.2-"

const (
	// answerTime bounds the wait for answers. For a process that has not answered by then, /proc is searched.
	answerTime = 200 * time.Millisecond
	// searchTime bounds the wait for processes of which /proc shows nothing, and for processes that search themselves.
	searchTime = 5 * time.Second
	// hostTime bounds the wait for the question of a process that has connected.
	hostTime = 5 * time.Second
)

// host finds the memory of a cache when this process joins, and sends it to the processes that join later.
//
// Of two processes that look for the memory at the same time, the one with the lower id makes it: the other waits for the
// answer, and searches again if it was itself asked by a lower id before it had decided. So all use one memory, unless a
// process hangs or a link is lost just then. Processes with different memories send each other their changes by messages.
type host struct {
	mesh     *peer.Mesh
	log      *slog.Logger
	stream   string // the name of the streams
	name     string // of the memory in /proc; unique, as a process may be in several meshes
	listener *peer.Listener
	commit   time.Duration   // of the table
	closing  context.Context //nolint:containedctx // of the answers
	stop     context.CancelFunc
	running  sync.WaitGroup
	decided  chan none // closed when memory is set

	mu        sync.Mutex
	memory    *os.File // guarded by mu; the table's
	isDecided bool     // guarded by mu
	overtaken bool     // guarded by mu; this process has answered a lower id that it has no memory
}

// shareTable returns the table that the processes of a mesh share: that of another process, or a new one. It takes a slot. The
// caller closes the host before the table.
func shareTable(mesh *peer.Mesh, log *slog.Logger, name string, entries int, commit time.Duration) (*versioned.Table, *host, error) {
	h, err := newHost(mesh, log, name)
	if err != nil {
		return nil, nil, err
	}
	h.commit = commit
	h.start() // before the others are asked
	t, err := h.find(entries)
	if err != nil {
		return nil, nil, errors.Join(err, h.close())
	}
	return t, h, nil
}

func newHost(mesh *peer.Mesh, log *slog.Logger, name string) (*host, error) {
	h := &host{
		mesh: mesh, log: log, decided: make(chan none),
		stream: memoryPrefix + hashName(name),
		name:   memoryPrefix + hashName(inside.Of(mesh).Directory().Path(), name),
	}
	var err error
	if h.listener, err = mesh.Listen(h.stream); err != nil {
		return nil, err
	}
	h.closing, h.stop = context.WithCancel(context.Background())
	return h, nil
}

// hashName returns a short name for strings of any bytes.
func hashName(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// start answers questions for the memory, until close.
func (h *host) start() {
	h.running.Go(h.answerAll) // ended by close, which waits
}

func (h *host) find(entries int) (*versioned.Table, error) {
	ctx, cancel := context.WithTimeout(h.closing, searchTime)
	defer cancel()
	for {
		memory := h.search(ctx)
		t, err := h.decide(memory, entries)
		if t != nil || err != nil {
			return t, err
		}
	}
}

// decide takes a slot of the memory, or of a new one. It returns nil when another process is to make the memory.
func (h *host) decide(memory *os.File, entries int) (t *versioned.Table, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if memory == nil {
		if h.overtaken {
			h.overtaken = false
			return nil, nil //nolint:nilnil // neither a table nor an error
		}
		if memory, err = versioned.Create(h.name, entries); err != nil {
			return nil, err
		}
	}
	if t, err = versioned.Open(memory, h.mesh.Self().Incarnation, h.commit); err != nil {
		return nil, err
	}
	h.memory, h.isDecided = memory, true
	close(h.decided)
	return t, nil
}

// close stops the answers. It may be called again, and on a nil host.
func (h *host) close() error {
	if h == nil {
		return nil
	}
	h.stop()
	err := h.listener.Close()
	h.running.Wait()
	return err
}

// reply is the answer of a process.
type reply struct {
	from   peer.Info
	memory *os.File // nil: it has none
	waits  bool     // it searches itself, and answers again when it has decided
}

// search asks all members for the memory, concurrently. It returns nil when none has it.
func (h *host) search(ctx context.Context) *os.File {
	ctx, cancel := context.WithCancel(ctx)
	replies := make(chan reply)
	awaited, silent := make(map[rendezvous.Incarnation]none), make(map[rendezvous.Incarnation]peer.Info)
	var asking sync.WaitGroup
	for _, p := range h.mesh.Peers() {
		awaited[p.Incarnation], silent[p.Incarnation] = none{}, p
		asking.Go(func() { h.ask(ctx, p, replies) }) // ended by cancel
	}
	defer asking.Wait()
	defer cancel()
	patience := time.NewTimer(answerTime)
	defer patience.Stop()
	for len(awaited) > 0 {
		select {
		case r := <-replies:
			if r.memory != nil {
				return r.memory
			}
			if delete(silent, r.from.Incarnation); !r.waits {
				delete(awaited, r.from.Incarnation)
			}
		case <-patience.C:
			for _, p := range silent {
				memory, err := openMemoryOf(p.PID, h.name)
				if memory != nil {
					return memory
				}
				if errors.Is(err, errNoMemory) {
					delete(awaited, p.Incarnation)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
	return h.searchAbsent()
}

// searchAbsent looks for the memory in live processes that are not members, as stopped processes.
func (h *host) searchAbsent() *os.File {
	absent, err := inside.Of(h.mesh).Absent()
	if err != nil {
		h.log.Debug("cannot see who else is there", "reason", err)
	}
	for _, p := range absent {
		if memory, _ := openMemoryOf(p.PID, h.name); memory != nil { // else messages are used
			return memory
		}
	}
	return nil
}

// errNoMemory: the process does not have the memory.
var errNoMemory = errors.New("the process does not have the memory")

// openMemoryOf opens a memory that another process has open, see proc_pid_fd(5). It works for a stopped process, too. The kernel
// refuses it for some processes, such as those of a program with capabilities.
func openMemoryOf(pid int, name string) (*os.File, error) {
	if pid == os.Getpid() { // several nodes in a process, as in a test, cannot be distinguished here
		return nil, errors.ErrUnsupported
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if target, err := os.Readlink(path); err != nil || target != "/memfd:"+name+" (deleted)" {
			continue
		}
		memory, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			if err = versioned.Check(memory); err == nil {
				return memory, nil
			}
			err = errors.Join(err, memory.Close())
		}
		return nil, err
	}
	return nil, errNoMemory
}

// ask asks one process for the memory.
func (h *host) ask(ctx context.Context, p peer.Info, replies chan<- reply) {
	memory, err := h.question(ctx, p, func() { deliver(ctx, replies, reply{from: p, waits: true}) })
	if err != nil && ctx.Err() == nil {
		h.log.Warn("the memory of a process cannot be shared", "peer", p.ID, "reason", err)
	}
	deliver(ctx, replies, reply{from: p, memory: memory})
}

// deliver passes a reply to search, if that still runs.
func deliver(ctx context.Context, replies chan<- reply, r reply) {
	select {
	case replies <- r:
	case <-ctx.Done():
		if r.memory != nil {
			_ = r.memory.Close() // another memory is used
		}
	}
}

// The messages on a stream: the question and the answers have one byte each, and the descriptor comes with answerMemory.
const (
	questionMemory = '?'
	answerNone     = 'n'
	answerWait     = 'w'
	answerMemory   = 'm'
)

// question asks a process on a stream of its own. waits is called if the process has not decided yet.
func (h *host) question(ctx context.Context, p peer.Info, waits func()) (*os.File, error) {
	stream, err := h.mesh.Dial(ctx, p.ID, h.stream)
	if err != nil {
		return nil, nil //nolint:nilnil // it has no such cache, is gone, or closes
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { _ = stream.SetDeadline(time.Unix(1, 0)) }) // it fails at once
	defer stop()
	if _, err := stream.Write([]byte{questionMemory}); err != nil {
		return nil, nil //nolint:nilnil // it closes
	}
	for {
		answer, memory, err := receiveFile(stream)
		switch {
		case err != nil || answer == answerNone:
			return nil, nil //nolint:nilnil // it is gone, or has none
		case answer == answerWait:
			waits()
		case memory == nil:
			return nil, errors.New("no descriptor has come: this process may have no room for one (ulimit -n)")
		default:
			if err := versioned.Check(memory); err != nil {
				return nil, errors.Join(err, memory.Close())
			}
			return memory, nil
		}
	}
}

// answerAll answers the processes that ask.
func (h *host) answerAll() {
	for {
		stream, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.running.Go(func() { h.answer(stream.(*peer.Stream)) }) // ended by h.stop or by time
	}
}

func (h *host) answer(stream *peer.Stream) {
	defer stream.Close()
	stop := context.AfterFunc(h.closing, func() { _ = stream.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = stream.SetDeadline(time.Now().Add(hostTime)) // the read below returns its error
	// The peer receives descriptors only after its question: bytes that come with the handshake are read without descriptors.
	if n, err := stream.Read(make([]byte, 1)); n == 0 || err != nil || h.closing.Err() != nil {
		return
	}
	if memory := h.await(stream); memory == nil {
		_, _ = stream.Write([]byte{answerNone})
	} else if err := sendFile(stream, answerMemory, memory); err != nil {
		h.log.Debug("the memory is not given", "peer", stream.Peer().ID, "reason", err)
	}
}

// await returns the memory for a process, nil if there is none. If this process decides first, await waits for that.
func (h *host) await(stream *peer.Stream) *os.File {
	h.mu.Lock()
	goesFirst := h.mesh.Self().ID < stream.Peer().ID
	if !h.isDecided && !goesFirst {
		h.overtaken = true
	}
	memory, isDecided := h.memory, h.isDecided
	h.mu.Unlock()
	if isDecided || !goesFirst {
		return memory
	}
	_ = stream.SetDeadline(time.Time{})
	if _, err := stream.Write([]byte{answerWait}); err != nil {
		return nil
	}
	select {
	case <-h.decided:
	case <-h.closing.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.memory
}
