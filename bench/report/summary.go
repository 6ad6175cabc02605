package report

import "fmt"

// Summary says in a few sentences what was found for the default of this project, by the main figure of each pattern. It is empty without a baseline or a way of this project.
func (d *Document) Summary() []string {
	if d.baseline().Name == "" || d.ours().Name == "" {
		return nil
	}
	findings := d.Findings()
	ours := d.ours()
	return []string{toBaseline(findings, ours.title(), d.baseline().title()), toBest(findings, ours)}
}

// Losses says for each pattern in which the default of this project is behind the best way on the same server by how much.
func (d *Document) Losses() (lines []string) {
	for _, f := range d.Findings() {
		if f.ToBest.Verdict == Worse {
			lines = append(lines, fmt.Sprintf("%s: %s is %s relative to %s",
				f.Pattern.title(), f.Figure.Title, changeText(f.ToBest), f.Best.title()))
		}
	}
	return lines
}

func toBaseline(findings []Finding, ours, baseline string) string {
	count := map[Verdict]int{}
	for _, f := range findings {
		count[f.Ours.Verdict]++
	}
	text := fmt.Sprintf("%s compared with %s, by the main figure of each pattern: better in %d of %d, worse in %d, no clear difference in %d",
		ours, baseline, count[Better], len(findings), count[Worse], count[Unclear])
	if n := count[Unknown]; n > 0 {
		text += fmt.Sprintf(", not measured in %d", n)
	}
	return text + "."
}

func toBest(findings []Finding, ours Way) string {
	var best, tied, behind int
	for _, f := range findings {
		switch {
		case f.Best.Name == "":
		case f.Best.Name == ours.Name:
			best++
		case f.ToBest.Verdict == Unclear:
			tied++
		case f.ToBest.Verdict != Unknown:
			behind++
		}
	}
	return fmt.Sprintf("%s compared with the best way on the same server: it is the best in %d, cannot be told from the best in %d, and is behind in %d.",
		ours.title(), best, tied, behind)
}

// changeText says by how much a figure differs.
func changeText(c Comparison) string {
	if !c.Figure.Absolute {
		return "×" + formatRatio(c.Change)
	}
	return signed(c.Figure.FormatEstimate(c.Change), c)
}

// signed is the text of a difference.
func signed(text string, c Comparison) string {
	if c.Change.Median > 0 {
		return "+" + text
	}
	return text
}
