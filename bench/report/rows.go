package report

import "slices"

// rows is a chart with a line for each way: dots with their intervals over a common axis.
type rows struct {
	rows      []row
	scale     scale
	tick      func(float64) string
	axis      string
	reference float64
	refLabel  string // of the line at the reference; none if empty
	legend    []mark // of the shapes, if there are several
}

type row struct {
	way   Way
	marks []mark
	note  string // at the right
}

// mark is a dot with an interval.
type mark struct {
	Estimate
	label  string
	shape  shape
	hollow bool
}

const (
	rowHeight   = 30.0
	labelMost   = 164.0
	labelLines  = 2
	columnSpace = 10.0
)

// kind is the class of a way.
func (w Way) kind() string {
	switch {
	case w.Ours:
		return "ours"
	case w.Baseline:
		return "base"
	}
	return ""
}

// bold makes room for bold text if the name of a way is set in it.
func (w Way) bold(width float64) float64 {
	if w.kind() == "" {
		return width
	}
	return 1.1 * width
}

// draw returns a chart without a title.
func (r rows) draw() chart {
	var c canvas
	labels, notes := r.columns()
	left, right := labels+columnSpace, chartWidth-notes-columnSpace
	r.scale.from, r.scale.to = left+6, right-6
	top := 4.0
	if r.refLabel != "" || len(r.legend) > 0 {
		top = 20
	}
	r.drawHead(&c, left)
	bottom := top + rowHeight*float64(len(r.rows))
	for i := range r.rows {
		if i%2 == 0 {
			c.rect("band", 0, top+rowHeight*float64(i), chartWidth, rowHeight)
		}
	}
	r.drawAxis(&c, top, bottom, left, right)
	for i, row := range r.rows {
		r.drawRow(&c, row, top+rowHeight*(float64(i)+0.5), labels)
	}
	return chart{width: chartWidth, height: bottom + 38, body: c.b.String()}
}

// columns returns the widths of those of the labels and of the notes.
func (r rows) columns() (labels, notes float64) {
	for _, row := range r.rows {
		labels = max(labels, row.way.bold(widest(wrap(row.way.title(), labelMost, labelLines))))
		notes = max(notes, row.way.bold(textWidthOf(row.note)))
	}
	return labels + 4, notes
}

// drawHead draws the legend and the label of the reference.
func (r rows) drawHead(c *canvas, left float64) {
	if r.refLabel != "" {
		half := textWidthOf(r.refLabel) / 2
		x := min(max(r.scale.at(r.reference), half), chartWidth-half)
		c.text("base middle", x, 12, r.refLabel)
	}
	x := left
	for _, m := range r.legend {
		c.marker(m.shape, "dot"+hollow(m), position{x + 6, 8})
		c.text("", x+16, 12, m.label)
		x += 16 + textWidthOf(m.label) + 16
	}
}

func (r rows) drawAxis(c *canvas, top, bottom, left, right float64) {
	for _, t := range r.scale.ticks(func(t float64) float64 { return textWidthOf(r.tick(t)) + 14 }) {
		x := r.scale.at(t)
		c.line("grid", x, top, x, bottom+4)
		c.text("muted middle", x, bottom+17, r.tick(t))
	}
	if r.refLabel != "" {
		x := r.scale.at(r.reference)
		c.line("reference", x, top-3, x, bottom+4)
	}
	half := textWidthOf(r.axis) / 2
	c.text("muted middle", min(max((left+right)/2, half), chartWidth-half), bottom+33, r.axis)
}

func (r rows) drawRow(c *canvas, row row, y, labels float64) {
	kind := row.way.kind()
	lines := wrap(row.way.title(), labelMost, labelLines)
	c.group(row.way.title()+": "+row.note, func() {
		c.lines(kind+" end", labels, y+4-lineHeight*float64(len(lines)-1)/2, lines)
		for i, m := range row.marks {
			r.drawMark(c, m, kind, y+6*(float64(i)-float64(len(row.marks)-1)/2))
		}
		c.text(kind+" end", chartWidth-2, y+4, row.note)
	})
}

func (r rows) drawMark(c *canvas, m mark, kind string, y float64) {
	if m.Rounds == 0 {
		return
	}
	if m.Median < r.scale.low || m.Median > r.scale.high {
		c.arrow("dot "+kind, r.scale.at(m.Median), y, m.Median > r.scale.high)
		return
	}
	c.line("interval "+kind, r.scale.at(m.Low), y, r.scale.at(m.High), y)
	c.marker(m.shape, "dot "+kind+hollow(m), position{r.scale.at(m.Median), y})
}

func hollow(m mark) string {
	if m.hollow {
		return " hollow"
	}
	return ""
}

// values are all ends of intervals of ways that are chosen, or of all if there are none.
func (r rows) values(chosen func(Way) bool) (values []float64) {
	if !slices.ContainsFunc(r.rows, func(row row) bool { return chosen(row.way) }) {
		chosen = func(Way) bool { return true }
	}
	for _, row := range r.rows {
		if !chosen(row.way) {
			continue
		}
		for _, m := range row.marks {
			if m.Rounds > 0 {
				values = append(values, m.Low, m.Median, m.High)
			}
		}
	}
	return values
}
