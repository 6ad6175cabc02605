package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// cell is one field of a table.
type cell struct {
	text   string
	colour string // "": none
}

// table is text in columns. What is a number stands to the right.
type table struct {
	header []string
	right  []bool
	rows   [][]cell
}

// newTable makes a table with a header. A column whose name begins with ">" stands to the right.
func newTable(header ...string) *table {
	t := new(table)
	for _, name := range header {
		name, right := strings.CutPrefix(name, ">")
		t.header = append(t.header, name)
		t.right = append(t.right, right)
	}
	return t
}

func (t *table) add(row ...cell) { t.rows = append(t.rows, row) }

func (t *table) write(out io.Writer, p painter) {
	widths := make([]int, len(t.header))
	for i, name := range t.header {
		widths[i] = utf8.RuneCountInString(name)
	}
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var head []cell
	for _, name := range t.header {
		head = append(head, cell{name, faint})
	}
	for _, row := range append([][]cell{head}, t.rows...) {
		var line strings.Builder
		for i, c := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			if t.right[i] {
				line.WriteString(space + p.paint(c.colour, c.text) + "  ")
			} else {
				line.WriteString(p.paint(c.colour, c.text) + space + "  ")
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}
