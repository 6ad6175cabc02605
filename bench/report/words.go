package report

import (
	"fmt"
	"time"
)

func counts(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (d *Document) facts() string {
	text := counts(d.rounds(), "round")
	if !d.Begun.IsZero() {
		text = d.Begun.UTC().Format("2 January 2006, 15:04 MST") + " · " + text
	}
	if d.Elapsed > 0 {
		text += fmt.Sprintf(" · took %v", d.Elapsed.Round(time.Second))
	}
	return text
}
