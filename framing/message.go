package framing

import (
	"encoding/json"
	"fmt"
)

// Message is what Receive returns: a Text or a Binary. The Decoder returns control frames as well.
type Message struct {
	Type Type
	Data []byte
}

// Decode stores in *v what the other side has given to Send: the JSON value of a Text, as json.Unmarshal does, or a copy
// of the bytes of a Binary, for which v must be a *[]byte or a *any. It keeps nothing of Data.
//
// A Text from a foreign program need not be JSON. It can be read from Data.
func (m Message) Decode(v any) error {
	if m.Type == Text {
		if err := json.Unmarshal(m.Data, v); err != nil {
			return fmt.Errorf("framing: decode: %w", err)
		}
		return nil
	}
	switch v := v.(type) {
	case *[]byte:
		*v = append([]byte{}, m.Data...)
	case *any:
		*v = append([]byte{}, m.Data...)
	default:
		return fmt.Errorf("framing: decode: %v message into %T", m.Type, v)
	}
	return nil
}

// Encoded is an encoded message, so that a message to many connections is encoded once. It does not change, and any number
// of goroutines may use it at the same time.
type Encoded struct {
	frame []byte
	size  int // of the message in it, in bytes
}

// Encode returns the message that Send would send for v. The error is that of json.Marshal, or says that a text is not
// valid UTF-8.
func Encode(v any) (Encoded, error) {
	m, err := MessageOf(v)
	if err != nil {
		return Encoded{}, err
	}
	return Encoded{frame: AppendFrame(nil, m.Type, m.Data), size: len(m.Data)}, nil
}

// MessageOf returns the message that Send would send for v, with the error that Encode would have. Bytes are not copied.
func MessageOf(v any) (Message, error) {
	m, err := encode(v)
	if err != nil {
		return Message{}, fmt.Errorf("framing: encode: %w", err)
	}
	return m, nil
}

// encode makes a message of a value. Bytes are not copied.
func encode(v any) (Message, error) {
	switch v := v.(type) {
	case []byte:
		return Message{Type: Binary, Data: v}, nil
	case json.RawMessage:
		m := Message{Type: Text, Data: v}
		return m, m.check()
	case Message:
		return v, v.check()
	}
	data, err := json.Marshal(v)
	return Message{Type: Text, Data: data}, err
}

// check returns why a message cannot be sent.
func (m Message) check() error { return checkData(m.Type, m.Data, nil) }

// checkData returns why a message cannot be sent whose data are head followed by body.
func checkData(t Type, head, body []byte) error {
	switch t {
	case Binary:
		return nil
	case Text:
		var text utf8Check
		if !text.write(head) || !text.write(body) || !text.end() {
			return errInvalidUTF8
		}
		return nil
	default:
		return fmt.Errorf("%v is not the type of a message", t)
	}
}
