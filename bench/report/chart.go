package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a plot, and what is said of it.
type chart struct {
	file    string // its name, without the ending
	pattern string
	Title   string
	About   string     // how to read it
	plot    *plot.Plot // nil if there is nothing to show
	keys    []plot.Legend
	height  vg.Length
}

const (
	chartWidth  = vg.Length(480) // narrow enough for the text to be read on a phone
	frameSpace  = vg.Length(58)  // above and below what is in an area
	chartMargin = vg.Length(16)  // of one that stands alone
	titleHeight = vg.Length(44)  // likewise
)

// SVG is for a page that has the colours: those of page.css, which are others in the dark.
func (c chart) SVG() template.HTML {
	canvas := vgsvg.New(chartWidth, c.height)
	c.draw(canvas)
	return template.HTML(variables.Replace(c.svg(canvas))) // package vgsvg escapes all text in it
}

// standalone is a file of its own, with its title and on a light ground.
func (c chart) standalone() string {
	canvas := vgsvg.New(chartWidth+2*chartMargin, c.height+titleHeight+2*chartMargin)
	area := draw.New(canvas)
	area.FillPolygon(ink("bg"), corners(area.Rectangle))
	area.StrokeLines(stroke("grid", 2), append(corners(area.Rectangle), area.Min))
	for i, line := range []string{c.pattern, c.Title} {
		style := lettering([]string{"title", ""}[i])
		area.FillText(style, vg.Point{X: chartMargin, Y: area.Max.Y - 28 - 18*vg.Length(i)}, shorten(style, line, chartWidth))
	}
	canvas.Translate(vg.Point{X: chartMargin, Y: chartMargin})
	c.draw(canvas)
	return c.svg(canvas)
}

// draw sets the keys at the right, one below the other.
func (c chart) draw(canvas *vgsvg.Canvas) {
	area := draw.NewCanvas(canvas, chartWidth, c.height)
	var width vg.Length
	for _, k := range c.keys {
		width = max(width, k.Rectangle(area).Size().X)
	}
	c.plot.Draw(draw.Crop(area, 0, -width-min(width, 8), 0, 0))
	pitch := min((c.height-frameSpace)/max(1, vg.Length(len(c.keys))), 1.5*nameHeight)
	for i, k := range c.keys {
		k.YOffs = -frameSpace/3 - pitch*vg.Length(i)
		k.Draw(draw.Crop(area, chartWidth-width, 0, 0, 0))
	}
}

func corners(r vg.Rectangle) []vg.Point {
	return []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}}
}

// fontName is that of the font by which package plot measures text.
const fontName = "Liberation Sans"

// defaults removes what the element says for all text in it.
var defaults = strings.NewReplacer("font-family:"+fontName+";", "", "font-variant:normal;", "", "font-weight:normal;", "", "font-style:normal;", "",
	"font-size:12px;", "")

// svg returns what is drawn as an element that can be part of a page.
func (c chart) svg(canvas *vgsvg.Canvas) string {
	var b, label bytes.Buffer
	_, _ = canvas.WriteTo(&b) // a Buffer does not fail
	_ = xml.EscapeText(&label, []byte(c.pattern+": "+c.Title))
	_, body, _ := strings.Cut(b.String(), ">\n<g ")
	body = defaults.Replace(body)
	width, height := canvas.Size()
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="%s" `+
		`viewBox="0 0 %g %g" width="%g" height="%g" font-family="%s, Arial, Helvetica, sans-serif" font-size="12px">`+"\n<g %s",
		label.String(), width, height, width, height, fontName, body)
}

// WriteCharts writes each chart of the page to a file of its own, called PATTERN-CHART.svg, into a folder that is made if there is
// none.
func (d *Document) WriteCharts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: write charts: %w", err)
	}
	for _, s := range d.view().Sections {
		for _, c := range s.Charts() {
			if err := os.WriteFile(filepath.Join(dir, c.file+".svg"), []byte(c.standalone()), 0o644); err != nil {
				return fmt.Errorf("report: write charts: %w", err)
			}
		}
	}
	return nil
}

// mainFigures is how many of the figures of a pattern get a chart.
const mainFigures = 2

// Charts returns those that have something to show.
func (s section) Charts() (charts []chart) {
	add := func(name string, c chart) {
		if c.plot != nil {
			c.file, c.pattern = fileName(s.Name)+"-"+fileName(name), s.Title
			charts = append(charts, c)
		}
	}
	for _, name := range s.Figures[:min(mainFigures, len(s.Figures))] {
		if name != ConnectionsMaxMean && name != RequestsMaxMean { // they have a place in the fairness chart
			add(name, s.figureChart(lookup(name)))
		}
	}
	add("latency", s.latencyChart())
	add("fairness", s.fairnessChart())
	add("queue", s.queueChart())
	return charts
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// fileName keeps letters and digits.
func fileName(name string) string {
	return strings.Trim(unfit.ReplaceAllString(strings.ToLower(name), "-"), "-")
}
