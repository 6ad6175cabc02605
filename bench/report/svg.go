package report

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// canvas collects the elements of an SVG. Their classes are in chart.css.
type canvas struct{ b strings.Builder }

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`+"\n", class, px(x1), px(y1), px(x2), px(y2))
}

func (c *canvas) rect(class string, x, y, width, height float64) {
	fmt.Fprintf(&c.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`+"\n", class, px(x), px(y), px(width), px(height))
}

func (c *canvas) text(class string, x, y float64, text string) {
	fmt.Fprintf(&c.b, `<text class="%s" x="%s" y="%s">%s</text>`+"\n", class, px(x), px(y), escape(text))
}

// lines writes text in several lines, the first one with its base at y.
func (c *canvas) lines(class string, x, y float64, lines []string) {
	for i, line := range lines {
		c.text(class, x, y+float64(i)*lineHeight, line)
	}
}

func (c *canvas) polyline(class string, points []position) {
	var at []string
	for _, p := range points {
		at = append(at, px(p.x)+","+px(p.y))
	}
	fmt.Fprintf(&c.b, `<polyline class="%s" points="%s"/>`+"\n", class, strings.Join(at, " "))
}

// marker draws one of the shapes, which tell what colours tell, too.
func (c *canvas) marker(s shape, class string, p position) {
	const r = 4.0
	switch s {
	case square:
		c.rect(class, p.x-r+0.5, p.y-r+0.5, 2*r-1, 2*r-1)
	case diamond:
		fmt.Fprintf(&c.b, `<path class="%s" d="M%s %sl%g %gl%g %gl%g %gz"/>`+"\n", class, px(p.x), px(p.y-r-1), r+1, r+1, -r-1, r+1, -r-1, -r-1)
	case triangle:
		fmt.Fprintf(&c.b, `<path class="%s" d="M%s %sl%g %gh%gz"/>`+"\n", class, px(p.x), px(p.y-r-0.5), r+0.5, 2*r, -2*r-1)
	default:
		fmt.Fprintf(&c.b, `<circle class="%s" cx="%s" cy="%s" r="%g"/>`+"\n", class, px(p.x), px(p.y), r)
	}
}

// arrow points to what lies beyond an edge.
func (c *canvas) arrow(class string, x, y float64, right bool) {
	const length, half = 9.0, 5.0
	back := x + length
	if right {
		back = x - length
	}
	fmt.Fprintf(&c.b, `<path class="%s" d="M%s %sL%s %sL%s %sz"/>`+"\n", class, px(x), px(y), px(back), px(y-half), px(back), px(y+half))
}

type position struct{ x, y float64 }

type shape int

const (
	circle shape = iota
	square
	diamond
	triangle
)

// group puts what draw adds under a title, which is shown when the mouse is on it.
func (c *canvas) group(title string, draw func()) {
	fmt.Fprintf(&c.b, "<g><title>%s</title>\n", escape(title))
	draw()
	c.b.WriteString("</g>\n")
}

func px(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// escape makes text safe in an element and in an attribute with double quotes. Characters that XML forbids are replaced.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder does not fail
	return b.String()
}

const lineHeight = 12.5

// textWidthOf returns about how wide text is at 12 px, rather too much: which font a browser takes is not known.
func textWidthOf(text string) (width float64) {
	for _, r := range text {
		switch {
		case strings.ContainsRune("iljtf.,:;'|!()[] ", r):
			width += 4.2
		case strings.ContainsRune("mwMW@%–→←▲▼", r):
			width += 11
		case r >= 0x2e80: // about where the wide scripts begin
			width += 12.5
		case r >= 'A' && r <= 'Z':
			width += 8.6
		default:
			width += 7
		}
	}
	return width
}

// wrap breaks text between words into at most so many lines. What is still too wide is cut, and ends in an ellipsis.
func wrap(text string, width float64, most int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case textWidthOf(line+" "+word) <= width || len(lines) == most-1:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	lines = append(lines, line)
	for i, line := range lines {
		lines[i] = shorten(line, width)
	}
	return lines
}

func shorten(text string, width float64) string {
	if textWidthOf(text) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && textWidthOf(string(runes)+"…") > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

func widest(lines []string) (width float64) {
	for _, line := range lines {
		width = max(width, textWidthOf(line))
	}
	return width
}
