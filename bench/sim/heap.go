package sim

// heap holds requests, that which is done first at the top. It is container/heap without its calls through an interface,
// which would take most of the time.
type heap []request

func (h *heap) push(r request) {
	*h = append(*h, r)
	s := *h
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if s[parent].done <= r.done {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = r
}

func (h *heap) pop() request {
	s := *h
	top, last := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	if len(s) > 0 {
		s.sink(last)
	}
	return top
}

// sink puts r where it belongs, from the top, which is free.
func (h heap) sink(r request) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].done < h[child].done {
			child++
		}
		if r.done <= h[child].done {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = r
}
