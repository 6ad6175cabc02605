package report

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// dotChart has a line for each way: dots with their intervals over a common axis.
type dotChart struct {
	rows      []row
	x         scale
	axis      string
	reference string // what the line at 1 is; there is none if empty
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
	rowHeight   = vg.Length(30)
	columnSpace = vg.Length(16) // between names, dots and notes
	nameMost    = vg.Length(190)
	headHeight  = vg.Length(20)
	footHeight  = vg.Length(38)
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

// ink is the colour of a way in a chart that tells no others apart.
func (w Way) ink() string {
	if w.kind() == "" {
		return "other"
	}
	return w.kind()
}

// write sets words in the lettering of the way.
func (w Way) write(c draw.Canvas, align draw.XAlignment, x, y vg.Length, words string) {
	style := lettering(w.kind())
	write(c, style, align, x, y, shorten(style, words, nameMost))
}

// width is that of words that write sets.
func (w Way) width(words string) vg.Length {
	style := lettering(w.kind())
	return style.Width(shorten(style, words, nameMost))
}

func (d dotChart) height() vg.Length {
	return headHeight + rowHeight*vg.Length(len(d.rows)) + footHeight
}

func (d dotChart) draw(c draw.Canvas) {
	var names, notes vg.Length
	for _, r := range d.rows {
		names, notes = max(names, r.way.width(r.way.title())), max(notes, r.way.width(r.note))
	}
	p := newPlot(d.x, scale{Normalizer: plot.LinearScale{}, high: 1})
	p.Add(plotFunc(func(area draw.Canvas) { d.drawBands(c, area) }), &plotter.Grid{Vertical: stroke("grid", 1)},
		plotFunc(func(area draw.Canvas) { d.drawHead(c, area) }), plotFunc(func(area draw.Canvas) { d.drawRows(c, area) }))
	p.Draw(draw.Crop(c, names+columnSpace, -notes-columnSpace, headHeight, -headHeight))
}

// middle returns where a row is in the area of the dots.
func (d dotChart) middle(area draw.Canvas, row int) vg.Length {
	return area.Max.Y - area.Size().Y*(vg.Length(row)+0.5)/vg.Length(len(d.rows))
}

func (d dotChart) drawBands(c, area draw.Canvas) {
	half := area.Size().Y / vg.Length(len(d.rows)) / 2
	for i := 0; i < len(d.rows); i += 2 {
		y := d.middle(area, i)
		c.FillPolygon(ink("band"), corners(vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: y - half}, Max: vg.Point{X: c.Max.X, Y: y + half}}))
	}
}

// drawHead draws the title of the axis, the line at the reference with its label, and the legend.
func (d dotChart) drawHead(c, area draw.Canvas) {
	write(c, lettering("muted"), draw.XCenter, area.Center().X, c.Min.Y+4, d.axis)
	base := c.Max.Y - 13
	if d.reference != "" {
		x := area.X(d.x.place(1))
		c.StrokeLine2(stroke("base", 1.5, 5, 3), x, area.Min.Y, x, area.Max.Y)
		write(c, lettering("base"), draw.XCenter, x, base, d.reference)
	}
	x := area.Min.X
	for _, m := range d.legend {
		m.shape.mark(c, "other", m.fill("other"), vg.Point{X: x + 6, Y: base + 4})
		write(c, lettering(""), draw.XLeft, x+16, base, m.label)
		x += 32 + lettering("").Width(m.label)
	}
}

func (d dotChart) drawRows(c, area draw.Canvas) {
	for i, r := range d.rows {
		y := d.middle(area, i)
		r.way.write(c, draw.XRight, area.Min.X-columnSpace+4, y-4, r.way.title())
		r.way.write(c, draw.XRight, c.Max.X-2, y-4, r.note)
		for j, m := range r.marks {
			if m.Rounds > 0 {
				d.drawMark(area, m, r.way.ink(), y-6*(vg.Length(j)-vg.Length(len(r.marks)-1)/2))
			}
		}
	}
}

func (d dotChart) drawMark(area draw.Canvas, m mark, ink string, y vg.Length) {
	at := vg.Point{X: area.X(d.x.place(m.Median)), Y: y}
	switch {
	case m.Median < d.x.low:
		leftArrow.mark(area, ink, ink, at)
	case m.Median > d.x.high:
		rightArrow.mark(area, ink, ink, at)
	default:
		area.StrokeLine2(stroke(ink, 2.5), area.X(d.x.place(m.Low)), y, area.X(d.x.place(m.High)), y)
		m.shape.mark(area, ink, m.fill(ink), at)
	}
}

func (m mark) fill(ink string) string {
	if m.hollow {
		return "bg"
	}
	return ink
}

// values are all ends of intervals of ways that are chosen, or of all if there are none.
func (d dotChart) values(chosen func(Way) bool) (values []float64) {
	all := !slices.ContainsFunc(d.rows, func(r row) bool { return chosen(r.way) })
	for _, r := range d.rows {
		for _, m := range r.marks {
			if m.Rounds > 0 && (all || chosen(r.way)) {
				values = append(values, m.Low, m.Median, m.High)
			}
		}
	}
	return values
}

// newPlot has axes without lines: a grid is enough.
func newPlot(x, y scale) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for axis, s := range map[*plot.Axis]scale{&p.X: x, &p.Y: y} {
		s.set(axis)
		axis.Width, axis.Padding, axis.Tick.Length = 0, 5, 0
		axis.Tick.Label.Font, axis.Tick.Label.Color = lettering("muted").Font, ink("muted")
	}
	return p
}

// plotFunc is a plot.Plotter. It is given the area within the axes.
type plotFunc func(area draw.Canvas)

func (f plotFunc) Plot(area draw.Canvas, _ *plot.Plot) { f(area) }
