package invalidate

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec makes bytes of keys and back. Two keys are equal in all processes when their bytes are.
type Codec[K comparable] struct {
	Append func(b []byte, key K) ([]byte, error)
	Parse  func(b []byte) (K, error) // must not keep b
}

// defaultCodec takes strings as they are, and JSON for the rest.
func defaultCodec[K comparable]() Codec[K] {
	if reflect.TypeFor[K]().Kind() == reflect.String {
		return Codec[K]{Append: appendString[K], Parse: parseString[K]}
	}
	return Codec[K]{Append: appendJSON[K], Parse: parseJSON[K]}
}

func appendString[K comparable](b []byte, key K) ([]byte, error) {
	return append(b, reflect.ValueOf(&key).Elem().String()...), nil
}

func parseString[K comparable](b []byte) (key K, err error) { //nolint:unparam // as Codec wants it
	reflect.ValueOf(&key).Elem().SetString(string(b))
	return key, nil
}

// appendJSON refuses a key that JSON does not give back, as one with a field that is not exported: another process would
// drop another key than the one that was changed.
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
