//go:build !race

// One goroutine writes and reads a page: the race detector would find nothing, in ten times the time.

package report

import (
	"encoding/xml"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"gonum.org/v1/plot/vg"
)

func TestPageShowsAllPatternsAndWays(t *testing.T) {
	d := sample(1, 5)
	page := parse(t, written(t, d.WriteHTML))
	for _, p := range d.view().Sections {
		id := p.ID
		section := find(page, func(n *html.Node) bool { return attribute(n, "id") == id })
		require.Len(t, section, 1, p.Name)
		text := textOf(section[0])
		assert.Contains(t, text, p.Title)
		assert.Contains(t, text, p.About)
		assert.Contains(t, text, p.Question)
		assert.Len(t, find(section[0], isElement("svg")), len(p.Charts()), p.Name)
		for _, r := range p.Results {
			if len(r.Cell.Samples) > 0 {
				assert.Contains(t, text, r.Way.Title, p.Name)
			}
		}
	}
	text := textOf(page)
	for _, word := range []string{"haproxy is not in PATH", "the proxy has no workers", "connection reset", "93.75 %", "SO_REUSEPORT", d.Command, d.Notes[0]} {
		assert.Contains(t, text, word)
	}
}

func TestPageIsWellFormed(t *testing.T) {
	for name, d := range odd() {
		text := written(t, d.WriteHTML)
		page := parse(t, text)
		assertBalanced(t, text, name)
		ids := map[string]bool{}
		for _, n := range find(page, func(n *html.Node) bool { return attribute(n, "id") != "" }) {
			assert.False(t, ids[attribute(n, "id")], "%s: id twice", name)
			ids[attribute(n, "id")] = true
		}
		for _, n := range find(page, isElement("a")) {
			target, ok := strings.CutPrefix(attribute(n, "href"), "#")
			assert.True(t, ok && ids[target], "%s: link to %q", name, attribute(n, "href"))
		}
	}
}

// assertBalanced checks that each element is closed in the order in which it was opened, which a browser would silently mend.
func assertBalanced(t *testing.T, text, name string) {
	t.Helper()
	void := map[string]bool{"meta": true, "link": true, "br": true}
	var open []string
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		kind := z.Next()
		tag, _ := z.TagName()
		switch {
		case kind == html.ErrorToken:
			require.ErrorIs(t, z.Err(), io.EOF, name)
			assert.Empty(t, open, name)
			return
		case kind == html.StartTagToken && !void[string(tag)]:
			open = append(open, string(tag))
		case kind == html.EndTagToken:
			require.NotEmpty(t, open, "%s: </%s>", name, tag)
			require.Equal(t, open[len(open)-1], string(tag), name)
			open = open[:len(open)-1]
		}
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	for name, d := range map[string]*Document{"sample": sample(1, 5), "hostile": hostile(hostileText)} {
		page := parse(t, written(t, d.WriteHTML))
		for _, element := range []string{"script", "img", "iframe", "object", "embed", "base", "form", "image", "use", "foreignObject"} {
			assert.Empty(t, find(page, isElement(element)), "%s: %s", name, element)
		}
		for _, n := range find(page, func(*html.Node) bool { return true }) {
			for _, a := range n.Attr {
				assert.False(t, strings.HasPrefix(a.Key, "on"), "%s: %s", name, a.Key)
				switch a.Key {
				case "href", "src":
					assert.Regexp(t, `^(#[\w-]+|data:,)$`, a.Val, name)
				case "style":
					assert.Regexp(t, `^[\w-]+:([\w-]+|[\d., ]+(px)?|var\(--\w+\))(;|$)`, a.Val, name)
					assert.NotRegexp(t, `(?i)url\(|@import|://`, a.Val, name)
				}
			}
			if n.DataAtom == atom.Style {
				assert.NotRegexp(t, `(?i)url\(|@import|://`, textOf(n), name)
			}
		}
	}
}

func TestPageEscapes(t *testing.T) {
	page := parse(t, written(t, hostile(hostileText).WriteHTML))
	text := textOf(page)
	assert.GreaterOrEqual(t, strings.Count(text, hostileText), 10, "it is shown as it is")
	title := find(page, func(n *html.Node) bool { return n.DataAtom == atom.Title && n.Parent.DataAtom == atom.Head })
	require.Len(t, title, 1)
	assert.Equal(t, hostileText, textOf(title[0]))
}

func TestChartsHaveNoBadNumbers(t *testing.T) {
	for name, d := range odd() {
		for _, s := range d.view().Sections {
			for _, c := range s.Charts() {
				assertInside(t, c, name+": "+c.file)
			}
		}
	}
}

var (
	points = regexp.MustCompile(`([-+.\de]+),([-+.\de]+)`)
	paths  = regexp.MustCompile(`\bd="([^"]*)"`)
	texts  = regexp.MustCompile(`(?s)<text x="([^"]*)" y="-?([^"]*)" transform="scale\(1, -1\)"[^>]*>([^<]*)<`)
)

// assertInside checks that all coordinates are numbers within the chart.
func assertInside(t *testing.T, c chart, name string) {
	t.Helper()
	within := func(text string, limit vg.Length) {
		v, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err, name)
		require.True(t, finite(v) && v >= 0 && v <= float64(limit), "%s: %s not within %v", name, text, limit)
	}
	svg := string(c.SVG())
	for _, path := range paths.FindAllStringSubmatch(svg, -1) {
		for _, p := range points.FindAllStringSubmatch(path[1], -1) {
			within(p[1], chartWidth)
			within(p[2], c.height)
		}
	}
	for _, text := range texts.FindAllStringSubmatch(svg, -1) {
		within(text[1], chartWidth)
		within(text[2], c.height)
	}
	require.Len(t, texts.FindAllString(svg, -1), strings.Count(svg, "<text"))
	for _, bad := range []string{"NaN", "Inf", "%!"} {
		require.NotContains(t, svg, bad, name)
	}
}

// Names of lines must not overlap, however near the lines end.
func TestNamesOfLinesHaveRoom(t *testing.T) {
	d := sample(1, 12)
	for _, s := range d.view().Sections {
		for _, c := range s.Charts() {
			last, names := math.Inf(1), 0
			for _, text := range texts.FindAllStringSubmatch(string(c.SVG()), -1) {
				if len(c.keys) > 0 && slices.ContainsFunc(s.Results, func(r result) bool { return r.Way.Title == html.UnescapeString(text[3]) }) {
					y, err := strconv.ParseFloat(text[2], 64)
					require.NoError(t, err)
					assert.LessOrEqual(t, y, last-12, c.Title)
					last = y
					names++
				}
			}
			assert.Len(t, c.keys, names, c.Title)
		}
	}
}

func TestWriteCharts(t *testing.T) {
	d := sample(1, 5)
	d.Patterns[0].Name = "../Short & sweet"
	for i := range d.Cells {
		if d.Cells[i].Pattern == "short" {
			d.Cells[i].Pattern = d.Patterns[0].Name
		}
	}
	dir := filepath.Join(t.TempDir(), "new")
	require.NoError(t, d.WriteCharts(dir))
	wanted := 0
	for _, s := range d.view().Sections {
		wanted += len(s.Charts())
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, wanted)
	for _, name := range []string{"short-sweet-connections-per-second.svg", "short-sweet-latency.svg", "burst-queue.svg", "few-8-fairness.svg"} {
		assert.FileExists(t, filepath.Join(dir, name))
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		assertStandalone(t, string(b), e.Name())
	}
}

func TestStandaloneChartsAreXML(t *testing.T) {
	for name, d := range odd() {
		for _, s := range d.view().Sections {
			for _, c := range s.Charts() {
				assertStandalone(t, c.standalone(), name+": "+c.file)
			}
		}
	}
}

func assertStandalone(t *testing.T, text, name string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := decoder.Token()
		if err == io.EOF { //nolint:errorlint // Token returns it as it is
			break
		}
		require.NoError(t, err, name)
		if e, ok := token.(xml.StartElement); ok {
			assert.NotContains(t, []string{"script", "image", "foreignObject", "a"}, e.Name.Local, name)
		}
	}
	assert.NotContains(t, text, "var(--", "%s: a colour that is defined in the page only", name)
	assert.Contains(t, text, "fill:#FFFFFF", "%s: it has no ground", name)
}

func parse(t *testing.T, text string) *html.Node {
	t.Helper()
	page, err := html.Parse(strings.NewReader(text))
	require.NoError(t, err)
	return page
}

func find(n *html.Node, wanted func(*html.Node) bool) (found []*html.Node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && wanted(d) {
			found = append(found, d)
		}
	}
	return found
}

func isElement(name string) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.Data == name }
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func TestTablesShowTheSpread(t *testing.T) {
	d := two(P99, []float64{1, 2, 3, 4, 5}, []float64{2, 4, 6, 8, 10})
	for i := range d.Cells[1].Samples {
		d.Cells[1].Samples[i].Figures[QueueMax] = float64(i)
	}
	d.Patterns[0].Figures = []string{P99, QueueMax}
	text := textOf(parse(t, written(t, d.WriteHTML)))
	assert.Contains(t, text, "×2.000 (2.000–2.000) ▼", "a ratio")
	assert.Contains(t, text, "1.00–5.00", "the baseline")
	assert.Contains(t, text, "0–4", "a figure without a ratio")
}
