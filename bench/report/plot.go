package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// plot is a chart of lines, each with its label at its end.
type plot struct {
	series       []series
	x, y         scale
	xTick, yTick func(float64) string
	xTitle       string
	yTitle       string
}

type series struct {
	way    Way
	number int // among those of its kind
	points []position
	marked bool // each point gets a marker
}

// class is the colour and the dash: six colours and three dashes tell eighteen ways apart.
func (s series) class() string {
	switch {
	case s.way.Baseline:
		return "base"
	case s.way.Ours:
		return fmt.Sprintf("ours dash%d", s.number%dashes)
	}
	return fmt.Sprintf("s%d dash%d", s.number%colours, s.number/colours%dashes)
}

const colours, dashes = 6, 3

// draw returns a chart without a title.
func (p plot) draw() chart {
	labels := p.labels()
	room := 0.0
	for _, l := range labels {
		room += l.height()
	}
	const top, left = 24.0, 44.0
	bottom := top + max(260, room)
	right := chartWidth - widestOf(labels) - leaderSpace - 4
	p.x.from, p.x.to, p.y.from, p.y.to = left, right, bottom, top
	var c canvas
	p.drawAxes(&c, top, left)
	for _, s := range p.series {
		p.drawSeries(&c, s)
	}
	p.place(labels, top, bottom)
	for _, l := range labels {
		l.draw(&c, right)
	}
	return chart{width: chartWidth, height: bottom + 40, body: c.b.String()}
}

func (p plot) drawAxes(c *canvas, top, left float64) {
	c.text("muted", 0, 12, p.yTitle)
	for _, t := range p.y.ticks(func(float64) float64 { return 24 }) {
		y := p.y.at(t)
		c.line("grid", left, y, p.x.to, y)
		c.text("muted end", left-6, y+4, p.yTick(t))
	}
	for _, t := range p.x.ticks(func(t float64) float64 { return textWidthOf(p.xTick(t)) + 4 }) {
		x := p.x.at(t)
		c.line("grid", x, top, x, p.y.from+4)
		c.text("muted middle", x, p.y.from+18, p.xTick(t))
	}
	c.text("muted middle", max((left+p.x.to)/2, textWidthOf(p.xTitle)/2), p.y.from+36, p.xTitle)
}

func (p plot) drawSeries(c *canvas, s series) {
	var points []position
	for _, point := range s.points {
		points = append(points, position{p.x.at(point.x), p.y.at(point.y)})
	}
	c.group(s.way.title(), func() {
		c.polyline("series "+s.class(), points)
		for i, point := range points {
			if s.marked || i == len(points)-1 {
				c.marker(s.shape(), "point "+s.class(), point)
			}
		}
	})
}

func (s series) shape() shape {
	if s.way.kind() != "" {
		return map[bool]shape{true: diamond, false: square}[s.way.Ours]
	}
	return []shape{circle, triangle, square}[s.number/colours%dashes]
}

// label is the name of a line at its end.
type label struct {
	series series
	lines  []string
	end    position // of the line
	y      float64  // of the middle of the label
}

// leaderSpace is between a line and its label, and keySpace the part of it with a piece of the line.
const leaderSpace, keySpace = 46.0, 24.0

func (l *label) height() float64 { return lineHeight*float64(len(l.lines)) + 3 }

func (p plot) labels() (labels []*label) {
	for _, s := range p.series {
		labels = append(labels, &label{series: s, lines: wrap(s.way.title(), labelMost-20, labelLines)})
	}
	return labels
}

func widestOf(labels []*label) (width float64) {
	for _, l := range labels {
		width = max(width, l.series.way.bold(widest(l.lines)))
	}
	return width
}

// place puts each label as near to the end of its line as the others let it: from the top down, and then from the bottom up.
func (p plot) place(labels []*label, top, bottom float64) {
	for _, l := range labels {
		last := l.series.points[len(l.series.points)-1]
		l.end = position{p.x.at(last.x), p.y.at(last.y)}
		l.y = l.end.y
	}
	slices.SortStableFunc(labels, func(a, b *label) int {
		return cmp.Or(cmp.Compare(a.end.y, b.end.y), cmp.Compare(b.series.highest(), a.series.highest()))
	})
	for _, l := range labels {
		l.y = max(l.y, top+l.height()/2)
		top = l.y + l.height()/2
	}
	for _, l := range slices.Backward(labels) {
		l.y = min(l.y, bottom-l.height()/2)
		bottom = l.y - l.height()/2
	}
}

func (s series) highest() float64 {
	return slices.MaxFunc(s.points, func(a, b position) int { return cmp.Compare(a.y, b.y) }).y
}

func (l *label) draw(c *canvas, right float64) {
	x := right + leaderSpace
	c.polyline("leader", []position{{l.end.x + 6, l.end.y}, {right + 9, l.end.y}, {x - keySpace - 5, l.y}, {x - keySpace, l.y}})
	c.line("series "+l.series.class(), x-keySpace+2, l.y, x-5, l.y)
	c.lines(l.series.way.kind(), x, l.y+4-lineHeight*float64(len(l.lines)-1)/2, l.lines)
}

// series returns a line for each way that has points, our default last and so above the others.
func (d *Document) series(points func(Way) []position) (all []series) {
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

func coordinates(all []series) (xs, ys []float64) {
	for _, s := range all {
		for _, p := range s.points {
			xs, ys = append(xs, p.x), append(ys, p.y)
		}
	}
	return xs, ys
}
