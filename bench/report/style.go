package report

import (
	"fmt"
	"image/color"
	"sort"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// inks are the colours of a chart that stands alone. page.css has variables of these names, for light and dark.
var inks = map[string]uint32{
	"bg": 0xffffff, "text": 0x1a2030, "muted": 0x5a6475, "grid": 0xe2e6ee, "band": 0xf5f7fa, "other": 0x435066,
	"base": 0x7b8494, "ours": 0x6d28d9, "s0": 0x0072b2, "s1": 0xd55e00, "s2": 0x00876c, "s3": 0xa97c00, "s4": 0x3d9bd9, "s5": 0xc2528b,
}

// variables replaces the colours, as package vgsvg writes them.
var variables = func() *strings.Replacer {
	var pairs []string
	for name, rgb := range inks {
		pairs = append(pairs, fmt.Sprintf("#%06X", rgb), "var(--"+name+")")
	}
	return strings.NewReplacer(pairs...)
}()

func ink(name string) color.Color {
	rgb := inks[name]
	return color.RGBA{R: uint8(rgb >> 16), G: uint8(rgb >> 8), B: uint8(rgb), A: 0xff}
}

func stroke(name string, width vg.Length, dashes ...vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: ink(name), Width: width, Dashes: dashes}
}

// lettering is how text of a kind is set: that of a way, muted, or a title.
func lettering(kind string) text.Style {
	s := text.Style{Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: 12}, Handler: plot.DefaultTextHandler, Color: ink("text")}
	switch kind {
	case "muted":
		s.Color = ink("muted")
	case "title":
		s.Font.Size, s.Font.Weight = 15, xfont.WeightBold
	case "ours", "base":
		s.Color, s.Font.Weight = ink(kind), xfont.WeightBold
	}
	return s
}

// shorten cuts text that is too wide, and removes what SVG cannot hold.
func shorten(s text.Style, words string, width vg.Length) string {
	words = plain(words)
	if s.Width(words) <= width {
		return words
	}
	runes := []rune(words)
	fits := func(n int) bool { return s.Width(string(runes[:n])+"…") <= width }
	return string(runes[:sort.Search(len(runes), func(n int) bool { return !fits(n + 1) })]) + "…"
}

// shape is a polygon around a point. Shapes tell what colours tell, too.
type shape []vg.Point

var (
	square     = shape{{X: -.9, Y: -.9}, {X: .9, Y: -.9}, {X: .9, Y: .9}, {X: -.9, Y: .9}}
	diamond    = shape{{X: 0, Y: -1.3}, {X: 1.3, Y: 0}, {X: 0, Y: 1.3}, {X: -1.3, Y: 0}}
	triangle   = shape{{X: 0, Y: 1.2}, {X: 1.2, Y: -.9}, {X: -1.2, Y: -.9}}
	leftArrow  = shape{{X: -1, Y: 0}, {X: 1.2, Y: 1.3}, {X: 1.2, Y: -1.3}}
	rightArrow = shape{{X: 1, Y: 0}, {X: -1.2, Y: 1.3}, {X: -1.2, Y: -1.3}}
	circle     shape // has no corners
)

// glyph is a shape with an edge of a pixel in another ink: it is hollow in that of the ground.
type glyph struct {
	shape
	edge, fill string
}

func (g glyph) style() draw.GlyphStyle {
	return draw.GlyphStyle{Color: ink(g.edge), Radius: 5, Shape: g}
}

// DrawGlyph makes a glyph a draw.GlyphDrawer.
func (g glyph) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	for _, layer := range []struct {
		ink    string
		radius vg.Length
	}{{g.edge, style.Radius}, {g.fill, style.Radius - 1.5}} {
		if g.shape == nil {
			c.SetColor(ink(layer.ink))
			draw.CircleGlyph{}.DrawGlyph(c, draw.GlyphStyle{Radius: layer.radius}, at)
			continue
		}
		var points []vg.Point
		for _, p := range g.shape {
			points = append(points, at.Add(p.Scale(layer.radius)))
		}
		c.FillPolygon(ink(layer.ink), points)
	}
}
