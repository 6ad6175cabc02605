package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// MarshalJSON leaves out what is not finite, which JSON cannot hold: one bad figure must not cost all the others.
func (f Figures) MarshalJSON() ([]byte, error) {
	kept := maps.Clone(map[string]float64(f))
	maps.DeleteFunc(kept, func(_ string, value float64) bool { return !finite(value) })
	return json.Marshal(kept)
}

// WriteJSON writes all of the document. It fails if a number elsewhere than in [Figures] is not finite.
func (d *Document) WriteJSON(w io.Writer) error {
	current := *d
	current.Version = Version
	if err := json.NewEncoder(w).Encode(current); err != nil {
		return fmt.Errorf("report: write JSON: %w", err)
	}
	return nil
}

// ReadJSON reads what WriteJSON has written. It refuses other versions than its own.
func ReadJSON(r io.Reader) (*Document, error) {
	d := new(Document)
	if err := json.NewDecoder(r).Decode(d); err != nil {
		return nil, fmt.Errorf("report: read JSON: %w", err)
	}
	if d.Version != Version {
		return nil, fmt.Errorf("report: read JSON: its version is %d, and this program reads %d: measure again", d.Version, Version)
	}
	return d, nil
}

// figures returns all that are known, and then those of the sample that are not.
func (s Sample) figures() []figure {
	figures := slices.Clone(figures)
	for _, name := range slices.Sorted(maps.Keys(s.Figures)) {
		if f := lookup(name); !slices.Contains(figures, f) {
			figures = append(figures, f)
		}
	}
	return figures
}
