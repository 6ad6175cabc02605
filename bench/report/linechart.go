package report

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// lineChart has a line for each way, and their names at the right in the order in which the lines end.
type lineChart struct {
	series         []series
	x, y           scale
	xTitle, yTitle string
}

type series struct {
	way    Way
	number int // among those of its kind
	points plotter.XYs
}

const (
	linesHeight = vg.Length(260) // of the area of the lines, or more if there are many
	nameHeight  = vg.Length(17)
	keySpace    = vg.Length(64) // between the lines and the names, where a piece of each line is
	keyWidth    = vg.Length(26)
)

func (l lineChart) height() vg.Length {
	return headHeight + max(linesHeight, nameHeight*vg.Length(len(l.series))) + footHeight
}

func (l lineChart) draw(c draw.Canvas) {
	var names vg.Length
	for _, s := range l.series {
		names = max(names, s.way.width(s.way.title()))
	}
	p := newPlot(l.x, l.y)
	p.Add(&plotter.Grid{Vertical: stroke("grid", 1), Horizontal: stroke("grid", 1)},
		plotFunc(l.drawLines), plotFunc(func(area draw.Canvas) { l.drawNames(c, area) }))
	p.Draw(draw.Crop(c, 0, -names-keySpace, headHeight, -headHeight))
}

func (l lineChart) at(area draw.Canvas, p plotter.XY) vg.Point {
	return vg.Point{X: area.X(l.x.place(p.X)), Y: area.Y(l.y.place(p.Y))}
}

const manyPoints = 8

// drawLines marks each point of a line that has few, and the end of each line.
func (l lineChart) drawLines(area draw.Canvas) {
	for _, s := range l.series {
		var points []vg.Point
		for _, p := range s.points {
			points = append(points, l.at(area, p))
		}
		area.StrokeLines(s.style(), points)
		if len(points) > manyPoints {
			points = points[len(points)-1:]
		}
		for _, p := range points {
			s.shape().mark(area, "bg", s.ink(), p)
		}
	}
}

// drawNames names the axes, and leads from the end of each line to its name.
func (l lineChart) drawNames(c, area draw.Canvas) {
	write(c, lettering("muted"), draw.XLeft, c.Min.X, c.Max.Y-12, l.yTitle)
	write(c, lettering("muted"), draw.XCenter, area.Center().X, c.Min.Y+4, l.xTitle)
	ordered := slices.Clone(l.series)
	slices.SortStableFunc(ordered, func(a, b series) int {
		return cmp.Or(cmp.Compare(b.end().Y, a.end().Y), cmp.Compare(b.highest(), a.highest()))
	})
	pitch := min(area.Size().Y/vg.Length(len(ordered)), 1.5*nameHeight)
	for i, s := range ordered {
		x, y := area.Max.X+keySpace, area.Max.Y-pitch*(vg.Length(i)+0.5)
		end, key := l.at(area, s.end()), x-keyWidth-4
		c.StrokeLines(stroke("muted", 0.5), []vg.Point{{X: end.X + 6, Y: end.Y}, {X: area.Max.X + 9, Y: end.Y}, {X: key - 4, Y: y}})
		c.StrokeLine2(s.style(), key, y, key+keyWidth, y)
		s.shape().mark(c, "bg", s.ink(), vg.Point{X: key + keyWidth/2, Y: y})
		s.way.write(c, draw.XLeft, x, y-4, s.way.title())
	}
}

func (s series) end() plotter.XY { return s.points[len(s.points)-1] }

func (s series) highest() float64 {
	_, _, _, highest := plotter.XYRange(s.points)
	return highest
}

// Six colours and three dashes tell eighteen ways apart.
var (
	seriesInks   = []string{"s0", "s1", "s2", "s3", "s4", "s5"}
	seriesDashes = [][]vg.Length{nil, {6, 3}, {2, 3}}
	seriesShapes = []shape{circle, triangle, square}
)

func (s series) ink() string {
	if s.way.kind() == "" {
		return seriesInks[s.number%len(seriesInks)]
	}
	return s.way.ink()
}

func (s series) style() draw.LineStyle {
	switch {
	case s.way.Ours:
		return stroke(s.ink(), 3, seriesDashes[s.number%len(seriesDashes)]...)
	case s.way.Baseline:
		return stroke(s.ink(), 2.5, 7, 4)
	}
	return stroke(s.ink(), 1.75, seriesDashes[s.number/len(seriesInks)%len(seriesDashes)]...)
}

func (s series) shape() shape {
	switch {
	case s.way.Ours:
		return diamond
	case s.way.Baseline:
		return square
	}
	return seriesShapes[s.number/len(seriesInks)%len(seriesShapes)]
}

// series returns a line for each way that has points, our default last and so above the others.
func (d *Document) series(points func(Way) plotter.XYs) (all []series) {
	numbers := map[string]int{}
	for _, w := range d.present() {
		s := series{way: w, number: numbers[w.kind()], points: points(w)}
		numbers[w.kind()]++
		if len(s.points) > 0 {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b series) int { return cmp.Compare(a.depth(), b.depth()) })
	return all
}

func (s series) depth() int {
	if s.way.Ours {
		return math.MaxInt - s.number
	}
	return 0
}

func heights(all []series) (ys []float64) {
	for _, s := range all {
		for _, p := range s.points {
			ys = append(ys, p.Y)
		}
	}
	return ys
}
