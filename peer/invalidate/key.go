package invalidate

import (
	"encoding"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"reflect"
	"strconv"

	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// Codec encodes and decodes keys. Keys are equal in all processes when their bytes are.
type Codec[K comparable] struct {
	Append func(b []byte, key K) ([]byte, error)
	Parse  func(b []byte) (K, error) // must not keep b
}

// defaultCodec encodes strings as they are, and other keys as JSON. The JSON of an integer survives, so it needs no check.
func defaultCodec[K comparable]() Codec[K] {
	switch kind := reflect.TypeFor[K]().Kind(); {
	case kind == reflect.String:
		return Codec[K]{Append: appendString[K], Parse: parseString[K]}
	case hasOwnJSON[K]():
	case kind >= reflect.Int && kind <= reflect.Int64:
		return Codec[K]{Append: appendInt[K], Parse: parseJSON[K]}
	case kind >= reflect.Uint && kind <= reflect.Uintptr:
		return Codec[K]{Append: appendUint[K], Parse: parseJSON[K]}
	}
	return Codec[K]{Append: appendJSON[K], Parse: parseJSON[K]}
}

func hasOwnJSON[K comparable]() bool {
	key := any(new(K))
	_, isJSON := key.(json.Marshaler)
	_, isText := key.(encoding.TextMarshaler)
	return isJSON || isText
}

func appendInt[K comparable](b []byte, key K) ([]byte, error) {
	return strconv.AppendInt(b, reflect.ValueOf(&key).Elem().Int(), 10), nil
}

func appendUint[K comparable](b []byte, key K) ([]byte, error) {
	return strconv.AppendUint(b, reflect.ValueOf(&key).Elem().Uint(), 10), nil
}

func appendString[K comparable](b []byte, key K) ([]byte, error) {
	return append(b, reflect.ValueOf(&key).Elem().String()...), nil
}

func parseString[K comparable](b []byte) (key K, err error) { //nolint:unparam // the type of Codec.Parse
	reflect.ValueOf(&key).Elem().SetString(string(b))
	return key, nil
}

// appendJSON refuses a key that does not survive JSON, as one with an unexported field: another process would drop another key
// than the changed one.
func appendJSON[K comparable](b []byte, key K) ([]byte, error) {
	text, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("key %v: %w: set Options.Codec", key, err)
	}
	back, err := parseJSON[K](text)
	if err != nil {
		return nil, err
	}
	if back != key {
		return nil, fmt.Errorf("key %+v comes back as %+v from its JSON %s: set Options.Codec", key, back, text)
	}
	return append(b, text...), nil
}

func parseJSON[K comparable](b []byte) (key K, err error) {
	if err = json.Unmarshal(b, &key); err != nil {
		return key, fmt.Errorf("key %.80q: %w: set Options.Codec", b, err)
	}
	return key, nil
}

// hashFor returns a hash of keys that is the same in all processes. Other processes can invalidate a key that cannot be encoded
// only together with all.
func hashFor[K comparable](codec Codec[K]) func(K) uint64 {
	seed := maphash.MakeSeed()
	return func(key K) uint64 {
		bytes, err := codec.Append(nil, key)
		if err != nil {
			return maphash.Comparable(seed, key)
		}
		return hashOf(wire.OpKey, bytes)
	}
}

// hashOf returns the hash of the key or tag of an op. A class is taken from the low bits, which are not as good as the rest of FNV.
func hashOf(o wire.Op, data []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(o)}) // never fails
	_, _ = h.Write(data)
	sum := h.Sum64()
	return sum ^ sum>>32
}
