package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/multinode-go/multinode/framing"
)

// version is the version of the protocol in a node's hello. A later version may add kinds of messages, which earlier ones
// skip, and fields at the end of kinds that do not end with data.
const version = 1

// maxTopic is the length of the longest topic, in bytes.
const maxTopic = 255

// maxHead is the length of the longest head, in bytes: a kind, three numbers, a length.
const maxHead = 1 + 3*binary.MaxVarintLen64 + 1

// kind says what a message of the bus is. Each message is the data of one binary message of package framing.
type kind byte

const (
	kindHello       kind = iota + 1 // version, window; comes first
	kindSubscribe                   // id, topic
	kindUnsubscribe                 // id
	kindPublish                     // id, type, value
	kindRequest                     // id, number, type, value
	kindAnswer                      // number, type, value
	kindFailure                     // number, reason, text
	kindCredit                      // id, count, bytes
	kindFlush                       // number
	kindFlushed                     // number
)

// reason says why a request has failed.
type reason byte

const (
	reasonError        reason = iota + 1 // the handler's error, or that it has panicked; the text says it
	reasonNoSubscriber                   // the subscription is closed
)

// message is a message of the bus. Which fields are used is said at the kinds; numbers are varints on the wire.
type message struct {
	kind   kind
	id     uint64       // of a subscription, chosen by the subscriber and never used again; of a hello, the version
	number uint64       // of a request or a flush, chosen by the requester
	count  uint64       // how many published messages of the subscription have been handled since it began
	bytes  uint64       // how many bytes that were; of a hello, the window
	reason reason       // of a failure
	typ    framing.Type // of the value
	data   []byte       // the value, the topic or the text
}

// appendHead appends what stands before the data.
func (m *message) appendHead(b []byte) []byte {
	b = append(b, byte(m.kind))
	switch m.kind {
	case kindHello:
		b = appendNumbers(b, m.id, m.bytes)
	case kindSubscribe:
		b = append(appendNumbers(b, m.id), byte(len(m.data)))
	case kindUnsubscribe:
		b = appendNumbers(b, m.id)
	case kindPublish:
		b = append(appendNumbers(b, m.id), byte(m.typ))
	case kindRequest:
		b = append(appendNumbers(b, m.id, m.number), byte(m.typ))
	case kindAnswer:
		b = append(appendNumbers(b, m.number), byte(m.typ))
	case kindFailure:
		b = append(appendNumbers(b, m.number), byte(m.reason))
	case kindCredit:
		b = appendNumbers(b, m.id, m.count, m.bytes)
	case kindFlush, kindFlushed:
		b = appendNumbers(b, m.number)
	}
	return b
}

func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// parse reads a message. Its data are a part of b. Of a kind that this version does not know only the kind is set.
func parse(b []byte) (message, error) {
	if len(b) == 0 {
		return message{}, errors.New("empty message")
	}
	m, c := message{kind: kind(b[0])}, cursor{rest: b[1:]}
	switch m.kind {
	case kindHello:
		m.id, m.bytes = c.number(), c.number()
	case kindSubscribe:
		m.id, m.data = c.number(), c.topic()
	case kindUnsubscribe:
		m.id = c.number()
	case kindPublish:
		m.id, m.typ, m.data = c.number(), c.valueType(), c.all()
	case kindRequest:
		m.id, m.number, m.typ, m.data = c.number(), c.number(), c.valueType(), c.all()
	case kindAnswer:
		m.number, m.typ, m.data = c.number(), c.valueType(), c.all()
	case kindFailure:
		m.number, m.reason, m.data = c.number(), reason(c.byte()), c.all()
	case kindCredit:
		m.id, m.count, m.bytes = c.number(), c.number(), c.number()
	case kindFlush, kindFlushed:
		m.number = c.number()
	}
	if c.err != nil {
		return message{}, fmt.Errorf("message of kind %d: %w", m.kind, c.err)
	}
	return m, nil
}

// published reads a published message as parse does, but faster. It returns false if it is none.
func published(b []byte) (id uint64, typ framing.Type, data []byte, ok bool) {
	if len(b) < 3 || kind(b[0]) != kindPublish {
		return 0, 0, nil, false
	}
	id, n := uint64(b[1]), 1
	if id >= 0x80 {
		if id, n = binary.Uvarint(b[1:]); n <= 0 || len(b) < n+2 {
			return 0, 0, nil, false
		}
	}
	typ = framing.Type(b[1+n])
	return id, typ, b[2+n:], typ == framing.Text || typ == framing.Binary
}

// cursor reads fields, until one is missing or invalid.
type cursor struct {
	rest []byte
	err  error
}

var (
	errShort  = errors.New("too short")
	errNumber = errors.New("number of more than 64 bits")
)

func (c *cursor) number() uint64 {
	if len(c.rest) > 0 && c.rest[0] < 0x80 { // as most are
		n := uint64(c.rest[0])
		c.rest = c.rest[1:]
		return n
	}
	n, size := binary.Uvarint(c.rest)
	switch {
	case size == 0:
		c.fail(errShort)
	case size < 0:
		c.fail(errNumber)
	default:
		c.rest = c.rest[size:]
	}
	return n
}

func (c *cursor) byte() byte {
	if len(c.rest) == 0 {
		c.fail(errShort)
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b
}

func (c *cursor) valueType() framing.Type {
	t := framing.Type(c.byte())
	if c.err == nil && t != framing.Text && t != framing.Binary {
		c.fail(fmt.Errorf("%v is not the type of a value", t))
	}
	return t
}

func (c *cursor) topic() []byte {
	size := int(c.byte())
	if len(c.rest) < size {
		c.fail(errShort)
		return nil
	}
	topic := c.rest[:size:size]
	c.rest = c.rest[size:]
	if err := checkTopic(string(topic)); err != nil {
		c.fail(err)
	}
	return topic
}

func (c *cursor) all() []byte {
	all := c.rest
	c.rest = nil
	return all
}

// fail keeps the first error. What is read after it means nothing.
func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.rest = nil
}

func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("empty topic")
	case len(topic) > maxTopic:
		return fmt.Errorf("topic %.20q... of %d bytes: %d is the most", topic, len(topic), maxTopic)
	case !utf8.ValidString(topic):
		return fmt.Errorf("topic %q is not valid UTF-8", topic)
	}
	return nil
}
