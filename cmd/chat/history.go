package main

import (
	"cmp"
	"slices"
)

// stamp is a message's place in the order that all nodes agree on: by time, then by node. A node never gives the same
// time twice, and none that is behind what it has seen, so that an answer comes after what it answers.
type stamp struct {
	At   int64 `json:"at"`   // microseconds since 1970
	Node int   `json:"node"` // on which it came in
}

func (s stamp) compare(t stamp) int {
	return cmp.Or(cmp.Compare(s.At, t.At), cmp.Compare(s.Node, t.Node))
}

// message is a message of the chat.
type message struct {
	ID string `json:"id"` // made by the browser, so that a message that is sent again is the same one
	stamp
	Name string `json:"name"`
	Text string `json:"text"`
}

// ref names a message that a node or browser has.
type ref struct {
	ID string `json:"id"`
	stamp
}

// history is the last messages, in order. Merging is commutative and idempotent, so that all nodes get the same history. It
// is not safe for use by several goroutines at once.
type history struct {
	bound    int
	messages []message // by stamp
	stamps   map[string]stamp
}

func newHistory(bound int) *history {
	return &history{bound: bound, stamps: make(map[string]stamp)}
}

// merge adds a message, and reports whether the history has changed. Of a known message it keeps the lower stamp: a message
// that was sent again on another node, because the first died, may have two.
func (h *history) merge(m message) bool {
	if known, ok := h.stamps[m.ID]; ok {
		if known.compare(m.stamp) <= 0 {
			return false
		}
		i, _ := h.find(known)
		h.messages = slices.Delete(h.messages, i, i+1)
	}
	i, _ := h.find(m.stamp)
	if len(h.messages) == h.bound {
		if i == 0 {
			return false // older than all that is kept
		}
		delete(h.stamps, h.messages[0].ID)
		h.messages = slices.Delete(h.messages, 0, 1)
		i--
	}
	h.messages = slices.Insert(h.messages, i, m)
	h.stamps[m.ID] = m.stamp
	return true
}

func (h *history) find(s stamp) (int, bool) {
	return slices.BinarySearchFunc(h.messages, s, func(m message, s stamp) int { return m.compare(s) })
}

func (h *history) get(id string) (message, bool) {
	s, ok := h.stamps[id]
	if !ok {
		return message{}, false
	}
	i, _ := h.find(s)
	return h.messages[i], true
}

func (h *history) refs() []ref {
	refs := make([]ref, len(h.messages))
	for i, m := range h.messages {
		refs[i] = ref{m.ID, m.stamp}
	}
	return refs
}

// missing returns the messages that are not in have, or in another place there.
func (h *history) missing(have []ref) []message {
	there := make(map[ref]bool, len(have))
	for _, r := range have {
		there[r] = true
	}
	missing := []message{} // never null in JSON
	for _, m := range h.messages {
		if !there[ref{m.ID, m.stamp}] {
			missing = append(missing, m)
		}
	}
	return missing
}

// gone returns the messages in have that no node keeps: messages that are not here, and are recent enough to be.
func (h *history) gone(have []ref) []string {
	ids := []string{}
	for _, r := range have {
		old := len(h.messages) == h.bound && r.compare(h.messages[0].stamp) < 0
		if _, ok := h.stamps[r.ID]; !ok && !old {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
