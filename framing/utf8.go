package framing

import "unicode/utf8"

// utf8Check checks text that arrives in parts, which may end within a character. The zero value is ready.
type utf8Check struct {
	tail [utf8.UTFMax]byte // the start of a character that the last part ended in
	n    int               // how many bytes of tail count
}

// write reports whether the text is still valid after the next part. It is not as soon as no further byte could make it
// so (RFC 6455, section 8.1).
func (u *utf8Check) write(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		u.tail[u.n], p = p[0], p[1:]
		u.n++
		if !utf8.FullRune(u.tail[:u.n]) {
			continue
		}
		if !utf8.Valid(u.tail[:u.n]) {
			return false
		}
		u.n = 0
	}
	whole := len(p) - unfinished(p)
	if whole < len(p) {
		u.n = copy(u.tail[:], p[whole:])
	}
	return utf8.Valid(p[:whole])
}

// end reports whether the text ends with a whole character, and makes u ready for another text.
func (u *utf8Check) end() bool {
	whole := u.n == 0
	u.n = 0
	return whole
}

// unfinished returns how many bytes at the end of p begin a character that is longer.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		last := p[len(p)-n:]
		if !utf8.RuneStart(last[0]) {
			continue
		}
		if utf8.FullRune(last) {
			return 0
		}
		return n
	}
	return 0
}
