package report

import (
	_ "embed" // for the styles
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// chart is a drawing with its own origin. It has neither a title nor a background.
type chart struct {
	file          string // its name, without the ending
	title         string
	about         string // how to read it
	width, height float64
	body          string
}

// chartWidth is narrow enough for the text to be read on a phone.
const chartWidth = 480.0

var (
	//go:embed chart.css
	chartStyle string

	// light are the colours of a chart that stands alone: it has a light ground in a dark page, too. page.css has both.
	light = map[string]string{
		"bg": "#ffffff", "text": "#1a2030", "muted": "#5a6475", "grid": "#e2e6ee", "band": "#f5f7fa", "other": "#435066",
		"base": "#7b8494", "ours": "#6d28d9", "s0": "#0072b2", "s1": "#d55e00", "s2": "#00876c", "s3": "#a97c00", "s4": "#3d9bd9",
		"s5": "#c2528b",
	}
	variable = regexp.MustCompile(`var\(--(\w+)\)`)
)

// inline is for a page that has chart.css.
func (c chart) inline() template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="chart" role="img" aria-label="%s" viewBox="0 0 %g %s">`+"\n%s</svg>",
		escape(c.title), c.width, px(c.height), c.body)) // all text in the body went through escape
}

// standalone is a file of its own, with its title and with colours for light and dark surroundings.
func (c chart) standalone() string {
	const margin, lead = 16.0, 18.0
	var head canvas
	lines := wrap(c.title, c.width*0.8, 3) // the title is set larger
	for i, line := range lines {
		head.text("title", margin, margin+lead*float64(i+1)-4, line)
	}
	top := margin + lead*float64(len(lines)) + 10
	width, height := c.width+2*margin, top+c.height+margin
	style := variable.ReplaceAllStringFunc(chartStyle, func(v string) string { return light[variable.FindStringSubmatch(v)[1]] })
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="%s" viewBox="0 0 %g %s" width="%g" height="%s">
<style>
%s</style>
<rect x="0.5" y="0.5" width="%g" height="%s" rx="8" fill="%s" stroke="#d4dae3"/>
%s<g transform="translate(%g %s)">
%s</g>
</svg>
`, escape(c.title), width, px(height), width, px(height), style, width-1, px(height-1), light["bg"], head.b.String(), margin, px(top), c.body)
}

// WriteCharts writes each chart of the page to a file of its own, called PATTERN-CHART.svg, into a folder that is made if there is
// none.
func (d *Document) WriteCharts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: write charts: %w", err)
	}
	for _, p := range d.Patterns {
		for _, c := range d.charts(p) {
			if err := os.WriteFile(filepath.Join(dir, c.file+".svg"), []byte(c.standalone()), 0o644); err != nil {
				return fmt.Errorf("report: write charts: %w", err)
			}
		}
	}
	return nil
}

// charts returns those of a pattern that have something to show.
func (d *Document) charts(p Pattern) (charts []chart) {
	for i, name := range p.Figures {
		if i < mainFigures && !lookup(name).isFairness() {
			charts = d.appendChart(charts, p, name, d.figureChart(p, lookup(name)))
		}
	}
	charts = d.appendChart(charts, p, "latency", d.latencyChart(p))
	charts = d.appendChart(charts, p, "fairness", d.fairnessChart(p))
	return d.appendChart(charts, p, "queue", d.queueChart(p))
}

// mainFigures is how many of the figures of a pattern get a chart.
const mainFigures = 2

func (d *Document) appendChart(charts []chart, p Pattern, name string, c chart) []chart {
	if c.body == "" {
		return charts
	}
	c.file = fileName(p.Name) + "-" + fileName(name)
	return append(charts, c)
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// fileName keeps letters and digits.
func fileName(name string) string {
	return strings.Trim(unfit.ReplaceAllString(strings.ToLower(name), "-"), "-")
}
