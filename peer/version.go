package peer

import (
	"fmt"
	"net/http"
	"strconv"
)

// The versions that this node speaks, of the handshake and of the package's own streams: two, so that the nodes of two
// programs can talk while one replaces the other.
const (
	newestVersion = 2
	oldestVersion = 1
)

// A dialer names the newest version that it speaks and the oldest. The listener answers with the newest that both
// speak, or refuses and names its own newest.
const (
	headerVersion = "Multinode-Version"
	headerOldest  = "Multinode-Oldest-Version"
	// unnamedVersion is the version of a listener that refuses a version and names none: version 1 did so.
	unnamedVersion = 1
)

// versions are the versions that a node speaks.
type versions struct{ oldest, newest int }

func (v versions) speaks(version int) bool { return v.oldest <= version && version <= v.newest }

func (v versions) String() string {
	if v.oldest == v.newest {
		return fmt.Sprintf("version %d", v.newest)
	}
	return fmt.Sprintf("versions %d to %d", v.oldest, v.newest)
}

func (v versions) set(h http.Header) {
	h.Set(headerVersion, strconv.Itoa(v.newest))
	h.Set(headerOldest, strconv.Itoa(v.oldest))
}

// agree returns the newest version that this node and the sender of a request speak.
func (v versions) agree(h http.Header) (int, *refusedError) {
	newest, err := strconv.Atoi(h.Get(headerVersion))
	if err != nil {
		return 0, refuse(http.StatusUpgradeRequired, "version %.20q: this node speaks %v", h.Get(headerVersion), v)
	}
	agreed := min(v.newest, newest)
	theirs := versions{agreed, newest} // a node that names no oldest version checks the answer itself
	if text := h.Get(headerOldest); text != "" {
		if theirs.oldest, err = strconv.Atoi(text); err != nil {
			return 0, refuse(http.StatusBadRequest, "%s %.20q: want a number", headerOldest, text)
		}
	}
	if !v.speaks(agreed) || !theirs.speaks(agreed) {
		theirs.oldest = min(theirs.oldest, newest)
		return 0, refuse(http.StatusUpgradeRequired, "%v: this node speaks %v", theirs, v)
	}
	return agreed, nil
}

// check refuses an answer of a version that was not asked for.
func (v versions) check(h http.Header) *refusedError {
	version, err := strconv.Atoi(h.Get(headerVersion))
	if err != nil || !v.speaks(version) {
		return refuse(0, "version %.20q: this node speaks %v", h.Get(headerVersion), v)
	}
	return nil
}

// older returns the versions to ask for after a refusal of v: up to the version that the refusal names. It returns false when
// there is none.
func (v versions) older(refused *refusedError) (versions, bool) {
	older := versions{v.oldest, refused.version}
	return older, older.newest < v.newest && v.speaks(older.newest)
}
