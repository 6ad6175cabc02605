package framing

import "encoding/binary"

// unmask takes the masking key off p, which begins at byte pos of its payload (RFC 6455, section 5.3). It goes by words
// of eight bytes, the key twice.
func unmask(p []byte, key [4]byte, pos int) {
	var turned [8]byte // the key from pos on
	for i := range turned {
		turned[i] = key[(pos+i)&3]
	}
	word := binary.NativeEndian.Uint64(turned[:])
	for len(p) >= len(turned) {
		binary.NativeEndian.PutUint64(p, binary.NativeEndian.Uint64(p)^word)
		p = p[len(turned):]
	}
	for i := range p {
		p[i] ^= turned[i]
	}
}
