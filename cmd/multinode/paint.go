package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// painter writes colours where they can be seen.
type painter struct{ on bool }

// Colours, as the numbers of ECMA-48.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p painter) paint(colour, text string) string {
	if !p.on || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// isColourful tells whether out takes colours: a terminal does, unless the user has said NO_COLOR (no-color.org).
func isColourful(out io.Writer) bool {
	return isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
