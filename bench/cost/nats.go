package cost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats.go"
)

// Subjects of NATS: that of all peers, and those of the first one.
const (
	subjectAll   = "all"
	subjectOne   = "one"
	subjectCount = "count"
)

// natsdPackage is the program that is the broker.
const natsdPackage = "github.com/multinode-go/multinode/bench/cost/natsd"

// buildNATS puts the broker's program into dir, and returns its path.
func buildNATS(ctx context.Context, dir string) (string, error) {
	return buildProgram(ctx, dir, natsdPackage)
}

func buildProgram(ctx context.Context, dir, pkg string) (string, error) {
	program := filepath.Join(dir, path.Base(pkg))
	build := exec.CommandContext(ctx, "go", "build", "-o", program, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v, which works in a folder of the repository: %w\n%s", build, err, out)
	}
	return program, nil
}

// natsClient is a connection whose Close waits for its end.
type natsClient struct {
	*nats.Conn
	closed sync.WaitGroup
}

func dialNATS(p player) (*natsClient, error) {
	c := new(natsClient)
	c.closed.Add(1)
	var err error
	c.Conn, err = nats.Connect(p.Broker, nats.ClosedHandler(func(*nats.Conn) { c.closed.Done() }))
	return c, err
}

func (c *natsClient) Close() error {
	c.Conn.Close()
	c.closed.Wait()
	return nil
}

// followNATS answers on the subject of all, and the first peer also on those that are its own.
func followNATS(p player) (io.Closer, error) {
	c, err := dialNATS(p)
	if err != nil {
		return nil, err
	}
	answer := func(m *nats.Msg) { _ = m.Respond(m.Data) } // it fails when the team ends
	_, err = c.Subscribe(subjectAll, answer)
	if p.ID == 1 {
		_, err1 := c.Subscribe(subjectOne, answer)
		count, err2 := c.Subscribe(subjectCount, counter())
		if err = errors.Join(err, err1, err2); err == nil {
			err = count.SetPendingLimits(-1, -1)
		}
	}
	if err == nil {
		err = c.Flush() // the broker knows of it now
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// counter counts messages up to one that wants an answer.
func counter() nats.MsgHandler {
	var counted uint64
	return func(m *nats.Msg) {
		if m.Reply == "" {
			counted++
			return
		}
		_ = m.Respond(binary.BigEndian.AppendUint64(nil, counted)) // it fails when the team ends
		counted = 0
	}
}

// natsLeader asks all peers with one message, and receives an answer from each, as programs with NATS do.
type natsLeader struct {
	*natsClient
	ctx     context.Context // of the process
	peers   int
	inbox   string
	answers chan *nats.Msg
	message []byte
}

func leadNATS(ctx context.Context, p player) (leader, error) { return newNATSLeader(ctx, p) }

func newNATSLeader(ctx context.Context, p player) (*natsLeader, error) {
	c, err := dialNATS(p)
	if err != nil {
		return nil, err
	}
	l := &natsLeader{
		natsClient: c, ctx: ctx, peers: p.Peers, inbox: c.NewInbox(),
		answers: make(chan *nats.Msg, 2*p.Peers), message: message(forAnswer),
	}
	if _, err := c.ChanSubscribe(l.inbox, l.answers); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return l, nil
}

func (l *natsLeader) roundTrip() error {
	m, err := l.RequestWithContext(l.ctx, subjectOne, l.message)
	if err != nil {
		return err
	}
	return wholeAnswer(m.Data)
}

func (l *natsLeader) fanOut() error { return l.askAll(subjectAll, l.message, wholeAnswer) }

// askAll has each peer's answer checked.
func (l *natsLeader) askAll(subject string, question []byte, check func([]byte) error) error {
	if err := l.PublishRequest(subject, l.inbox, question); err != nil {
		return err
	}
	for range l.peers {
		select {
		case m := <-l.answers:
			if err := check(m.Data); err != nil {
				return err
			}
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	return nil
}

func (l *natsLeader) link() (link, error) { return natsLink{l}, nil }

type natsLink struct{ leader *natsLeader }

func (l natsLink) send() error { return l.leader.Publish(subjectCount, l.leader.message) }

func (l natsLink) finish() (int64, error) {
	m, err := l.leader.RequestWithContext(l.leader.ctx, subjectCount, l.leader.message)
	if err != nil {
		return 0, err
	}
	return total(m.Data)
}
