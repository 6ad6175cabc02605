// Package wire encodes and parses the messages between processes that have a cache and share no memory. It trusts no bytes.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// version is the first byte of each message. A process counts messages of another version as missed.
const version = 2

// Kind is the kind of a message.
type Kind byte

// The kinds of messages.
const (
	Change Kind = iota + 1 // of a writer to all: change number Seq of its session
	Sync                   // of a writer to one: its stream goes on after Seq; with the open updates
	Ack                    // of a holder to a writer: all changes of that session up to Seq are applied
	Ask                    // of a holder to a writer, a request: renew my lease of that length
	Grant                  // the answer: the last change of the session is Seq; store nothing for that time
	Bye                    // of a process that has stopped serving and writes no more
)

// The longest times that a message can have.
const (
	MaxLease  = 30 * time.Second
	MaxCommit = 24 * time.Hour
)

// IncarnationSize is the length of the incarnation of a process, in bytes.
const IncarnationSize = 8

// maxHead is the length of the longest head, in bytes.
const maxHead = 2 + 2*8 + 2*binary.MaxVarintLen64

// Message is one message of a cache to another. The comments say which kinds use the fields after Seq. It is encoded as the
// version, the kind, the session (8 bytes, big endian), own (as well), varints, and the ops.
type Message struct {
	Kind    Kind
	Session uint64        // of the writer whose stream it is about
	Seq     uint64        // of a change
	Own     uint64        // of an ask: the session of the process that asks
	Time    time.Duration // of an ask: the lease; of a grant: how long nothing may be stored
	Ops     []byte        // of a change and a sync; of the first ask: the incarnations of all live processes
}

// Encode returns the bytes of a message.
func (m *Message) Encode() []byte {
	b := make([]byte, 0, maxHead+len(m.Ops))
	b = append(b, version, byte(m.Kind))
	b = binary.BigEndian.AppendUint64(b, m.Session)
	b = binary.AppendUvarint(b, m.Seq)
	switch m.Kind {
	case Ask:
		b = binary.AppendUvarint(binary.BigEndian.AppendUint64(b, m.Own), uint64(m.Time))
	case Grant:
		b = binary.AppendUvarint(b, uint64(m.Time))
	default: // has ops
	}
	return append(b, m.Ops...)
}

var errShort = errors.New("too short")

// Parse reads a message. Its Ops are a part of b.
func Parse(b []byte) (m Message, err error) {
	const head = 10
	if len(b) < head {
		return m, errShort
	}
	if b[0] != version {
		return m, fmt.Errorf("version %d: this process speaks %d", b[0], version)
	}
	m.Kind, m.Session = Kind(b[1]), binary.BigEndian.Uint64(b[2:head])
	if m.Kind == 0 || m.Kind > Bye {
		return m, fmt.Errorf("message of kind %d", m.Kind)
	}
	b = b[head:]
	if m.Seq, b, err = number(b); err != nil {
		return m, err
	}
	switch m.Kind {
	case Ask:
		return m, m.parseAsk(b)
	case Grant:
		m.Time, m.Ops, err = duration(b, MaxCommit)
		return m, err
	default:
		m.Ops = b
		return m, nil
	}
}

func (m *Message) parseAsk(b []byte) error {
	const own = 8
	if len(b) < own {
		return errShort
	}
	lease, found, err := duration(b[own:], MaxLease)
	if err == nil && lease == 0 {
		err = errors.New("no lease")
	}
	if err == nil && len(found)%IncarnationSize != 0 {
		err = errShort
	}
	m.Own, m.Time, m.Ops = binary.BigEndian.Uint64(b), lease, found
	return err
}

func duration(b []byte, longest time.Duration) (d time.Duration, rest []byte, err error) {
	n, rest, err := number(b)
	if err == nil && n > uint64(longest) {
		err = fmt.Errorf("time of %d ns: %v is the longest", n, longest)
	}
	return time.Duration(n), rest, err
}

func number(b []byte) (n uint64, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, errShort
	}
	return n, b[size:], nil
}

// Op is one step of a change.
type Op byte

// The ops of a change.
const (
	OpKey   Op = iota + 1 // a key is dropped
	OpTag                 // all values with a tag are dropped
	OpAll                 // all values are dropped
	OpBegin               // an update of a key begins: it is dropped and not stored
	OpEnd                 // the update ends: it is dropped and can be stored
)

// AppendOp appends an op, about a key or a tag.
func AppendOp(b []byte, o Op, data []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(o)), uint64(len(data)))
	return append(b, data...)
}

// EachOp calls f with each op, until f returns an error.
func EachOp(b []byte, f func(o Op, data []byte) error) error {
	for len(b) > 0 {
		o := Op(b[0])
		if o == 0 || o > OpEnd {
			return fmt.Errorf("op %d", o)
		}
		size, rest, err := number(b[1:])
		if err != nil {
			return err
		}
		if size > uint64(len(rest)) {
			return errShort
		}
		if err := f(o, rest[:size]); err != nil {
			return err
		}
		b = rest[size:]
	}
	return nil
}
