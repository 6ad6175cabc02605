package proc

import "strings"

// Last words are looked for in so many bytes, and cut to so many lines and bytes.
const (
	tailSize     = 64 << 10
	maxWordLines = 12
	maxWordBytes = 2 << 10
)

// lastWords finds in the end of a program's standard error why it ended: the panic or fatal error of the Go runtime without the
// stacks, after SIGQUIT the stack of main, else the last lines.
func lastWords(tail string) string {
	tail = strings.TrimSpace(tail)
	for _, mark := range []string{"panic: ", "fatal error: "} {
		if report, ok := lastReport(tail, mark); ok {
			report, _, _ = strings.Cut(report, "\n\ngoroutine ")
			return firstLines(report)
		}
	}
	if dump, ok := lastReport(tail, "SIGQUIT: "); ok {
		if main, ok := lastReport(dump, "goroutine 1 "); ok {
			main, _, _ = strings.Cut(main, "\n\n")
			return firstLines(main)
		}
	}
	lines := strings.Split(tail, "\n")
	words := strings.Join(lines[max(0, len(lines)-maxWordLines):], "\n")
	return words[max(0, len(words)-maxWordBytes):]
}

// lastReport returns the text from the last line that begins with mark.
func lastReport(text, mark string) (string, bool) {
	at := strings.LastIndex("\n"+text, "\n"+mark)
	if at < 0 {
		return "", false
	}
	return text[at:], true
}

func firstLines(text string) string {
	lines := strings.Split(text, "\n")
	words := strings.Join(lines[:min(len(lines), maxWordLines)], "\n")
	return words[:min(len(words), maxWordBytes)]
}
