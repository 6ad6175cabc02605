package invalidate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// wireVersion is the first byte of each message. A process does not understand another one, see rule 7.
const wireVersion = 2

// kind says what a message is.
type kind byte

const (
	kindChange kind = iota + 1 // of a writer to all: change number seq of its session
	kindSync                   // of a writer to one: its stream goes on after seq; with the updates that are open
	kindAck                    // of a holder to a writer: all changes of that session up to seq are applied
	kindAsk                    // of a holder to a writer, a request: renew my lease of that length
	kindGrant                  // the answer: the last change of the session is seq; store nothing for that time
	kindBye                    // of one that has stopped serving and writes no more
)

// incarnationSize is the length of the incarnation of a process, in bytes.
const incarnationSize = 8

// maxHead is the length of the longest head, in bytes.
const maxHead = 2 + 2*8 + 2*binary.MaxVarintLen64

// message is one message of a cache to another. What stands in it beside kind, session and seq is said at the fields. It
// is encoded as the version, the kind, session (8 bytes, big endian), own (as well), varints, and the ops.
type message struct {
	kind    kind
	session uint64        // of the writer whose stream it is about
	seq     uint64        // of a change
	own     uint64        // of an ask: the session of the one who asks
	time    time.Duration // of an ask: the lease; of a grant: how long nothing may be stored
	ops     []byte        // of a change and a sync; of the first ask: the incarnations of all that were found
}

func (m *message) encode() []byte {
	b := make([]byte, 0, maxHead+len(m.ops))
	b = append(b, wireVersion, byte(m.kind))
	b = binary.BigEndian.AppendUint64(b, m.session)
	b = binary.AppendUvarint(b, m.seq)
	switch m.kind {
	case kindAsk:
		b = binary.AppendUvarint(binary.BigEndian.AppendUint64(b, m.own), uint64(m.time))
	case kindGrant:
		b = binary.AppendUvarint(b, uint64(m.time))
	default: // has ops
	}
	return append(b, m.ops...)
}

var errShort = errors.New("too short")

// parse reads a message. Its ops are a part of b.
func parse(b []byte) (m message, err error) {
	const head = 10
	if len(b) < head {
		return m, errShort
	}
	if b[0] != wireVersion {
		return m, fmt.Errorf("version %d: this process speaks %d", b[0], wireVersion)
	}
	m.kind, m.session = kind(b[1]), binary.BigEndian.Uint64(b[2:head])
	if m.kind == 0 || m.kind > kindBye {
		return m, fmt.Errorf("message of kind %d", m.kind)
	}
	b = b[head:]
	if m.seq, b, err = number(b); err != nil {
		return m, err
	}
	switch m.kind {
	case kindAsk:
		return m, m.parseAsk(b)
	case kindGrant:
		m.time, m.ops, err = duration(b, maxCommit)
		return m, err
	default:
		m.ops = b
		return m, nil
	}
}

func (m *message) parseAsk(b []byte) error {
	const own = 8
	if len(b) < own {
		return errShort
	}
	lease, found, err := duration(b[own:], maxLease)
	if err == nil && lease == 0 {
		err = errors.New("no lease")
	}
	if err == nil && len(found)%incarnationSize != 0 {
		err = errShort
	}
	m.own, m.time, m.ops = binary.BigEndian.Uint64(b), lease, found
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

// op says what a change does.
type op byte

const (
	opKey   op = iota + 1 // a key is dropped
	opTag                 // and all that has a tag
	opAll                 // and all
	opBegin               // an update of a key begins: it is dropped and not stored
	opEnd                 // the update ends: it is dropped and can be stored
)

func appendOp(b []byte, o op, data []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(o)), uint64(len(data)))
	return append(b, data...)
}

// eachOp calls f with each op of a change.
func eachOp(b []byte, f func(o op, data []byte) error) error {
	for len(b) > 0 {
		o := op(b[0])
		if o == 0 || o > opEnd {
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
