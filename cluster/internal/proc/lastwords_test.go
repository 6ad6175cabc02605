package proc

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLastWords(t *testing.T) {
	stack := "\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:7 +0x18\nexit status 2\n"
	many := strings.Repeat("a line of a log\n", 100)
	for _, c := range []struct{ name, tail, want string }{
		{"nothing", "", ""},
		{"one line", "cannot open config.yml\n", "cannot open config.yml"},
		{"panic", "panic: boom" + stack, "panic: boom"},
		{"panic behind a log", many + "panic: boom\n\ta second line" + stack, "panic: boom\n\ta second line"},
		{"panic of a panic", "panic: one [recovered]\n\tpanic: two" + stack, "panic: one [recovered]\n\tpanic: two"},
		{"fatal error", many + "fatal error: all goroutines are asleep - deadlock!" + stack, "fatal error: all goroutines are asleep - deadlock!"},
		{"SIGQUIT", "SIGQUIT: quit\nPC=0x1 m=0\n\ngoroutine 7 [select]:\nb()\n\ngoroutine 1 [chan receive]:\nmain.main()\n\ngoroutine 9 [select]:\nc()\n", "goroutine 1 [chan receive]:\nmain.main()"},
		{"the word in a sentence", "do not panic: stay\nend", "do not panic: stay\nend"},
		{"long log", many, strings.TrimSpace(strings.Repeat("a line of a log\n", maxWordLines))},
		{"one endless line", strings.Repeat("x", 1<<20), strings.Repeat("x", maxWordBytes)},
	} {
		assert.Equal(t, c.want, lastWords(c.tail), c.name)
	}
}
