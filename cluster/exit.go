package cluster

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// exit is how a process ended.
type exit struct {
	code        int            // when signal is 0
	signal      syscall.Signal // that killed it
	core        bool           // a core file was written
	outOfMemory bool           // killed while the kernel was out of memory
	err         error          // why it could not even be started
	unknown     bool           // it was another's child, who alone knows how it ended
	lastWords   string         // what it wrote last to standard error, if it was not ready

	// Of a program that does not talk to us, names of processes.
	left   string // that it had left behind, and that were ended with it
	alive  string // those of them that could not be ended
	daemon string // where it ended with code 0: one that went on without it
}

func exitOf(state *os.ProcessState) exit {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return exit{signal: status.Signal(), core: status.CoreDump()}
	}
	return exit{code: state.ExitCode()}
}

// isDone tells whether the process has ended because it had nothing more to do.
func (e exit) isDone() bool { return e.code == 0 && e.signal == 0 && e.err == nil && !e.unknown }

// leftBehind returns what the log says of the processes that it has left behind.
func (e exit) leftBehind() (attrs []any) {
	if e.left != "" {
		attrs = append(attrs, "ended_with_it", e.left)
	}
	if e.alive != "" {
		attrs = append(attrs, "still_alive", e.alive)
	}
	return attrs
}

// String says what the process died of.
func (e exit) String() string {
	switch {
	case e.err != nil:
		return e.err.Error()
	case e.unknown:
		return "exit status not known, as another master had started it"
	case e.signal == 0:
		return fmt.Sprintf("exit code %d", e.code)
	case e.outOfMemory:
		return "out of memory, killed by the kernel"
	case e.core:
		return fmt.Sprintf("signal: %v (core dumped)", e.signal)
	default:
		return fmt.Sprintf("signal: %v", e.signal)
	}
}

// Last words are looked for in so many bytes, and cut to so many lines and bytes.
const (
	tailSize     = 64 << 10
	maxWordLines = 12
	maxWordBytes = 2 << 10
)

// lastWords finds in the end of a program's standard error what tells why it ended: the panic or fatal error of the
// Go runtime without the stacks, after SIGQUIT the stack of main, else the last lines.
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

// lastReport returns what begins with the last line that begins with mark.
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

// WorkerError tells how a worker ended.
type WorkerError struct {
	ID, Slot, Generation, PID int

	Ready  bool   // it had been ready
	Reason string // what it died of: "exit code 1", "signal: killed", ...

	// LastWords is what it wrote last to its standard error, or the error with which its node ended. Empty when
	// it was ready: from then on a worker writes to the standard error of the master by itself.
	LastWords string
}

func (e *WorkerError) Error() string {
	when := "before it was ready"
	if e.Ready {
		when = "after it was ready"
	}
	text := fmt.Sprintf("worker %d (slot %d, pid %d) died %s: %s", e.ID, e.Slot, e.PID, when, e.Reason)
	if e.LastWords != "" {
		text += "; its last words:\n\t" + strings.ReplaceAll(e.LastWords, "\n", "\n\t")
	}
	return text
}
