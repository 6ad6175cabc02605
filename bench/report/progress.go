package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	redrawInterval = 500 * time.Millisecond
	plainInterval  = 30 * time.Second // between two lines where there is no terminal
	barWidth       = 24
)

// Progress shows how far a comparison is and how long it will still take: as one line that is drawn again on a terminal, and as
// a line now and then elsewhere. What else is written to the terminal meanwhile should go through its Write. Its methods may
// be called at the same time.
type Progress struct {
	w        io.Writer
	columns  func() int // 0 if w is no terminal
	expected time.Duration
	done     chan struct{}
	drawn    sync.WaitGroup
	once     sync.Once

	mu       sync.Mutex // guards what follows, and w
	begun    time.Time
	name     string
	step     step
	past     step // all steps that have ended
	lastLine time.Time
}

// step is how long something should take, and has taken.
type step struct{ expected, took time.Duration }

// NewProgress begins to show the progress of steps that should take a time all together. Close ends it.
func NewProgress(w io.Writer, expected time.Duration) *Progress {
	return newProgress(w, expected, func() int { return columnsOf(w) })
}

func newProgress(w io.Writer, expected time.Duration, columns func() int) *Progress {
	p := &Progress{w: w, columns: columns, expected: expected, done: make(chan struct{}), begun: time.Now()}
	if columns() > 0 {
		p.drawn.Go(p.redraw) // Close ends it and waits for it
	}
	return p
}

// columnsOf returns 0 if w is no terminal.
func columnsOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// Begin ends the step before and begins the next one. The time left follows how long the steps before have taken, compared
// with what was expected of them.
func (p *Progress) Begin(name string, expected time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
	p.name, p.step, p.begun = plain(name), step{expected: expected}, time.Now()
	p.showLocked()
}

func (p *Progress) endLocked() {
	if p.name == "" {
		return
	}
	p.past.expected += p.step.expected
	p.past.took += time.Since(p.begun)
}

// Close ends the last step and clears the line. It may be called more than once.
func (p *Progress) Close() error {
	p.once.Do(func() { close(p.done) })
	p.drawn.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
	p.name = ""
	return p.clearLocked()
}

// Write writes lines above that of the progress.
func (p *Progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.clearLocked(); err != nil {
		return 0, err
	}
	n, err := p.w.Write(text)
	if err == nil && p.columns() > 0 {
		p.showLocked()
	}
	return n, err
}

func (p *Progress) redraw() {
	ticker := time.NewTicker(redrawInterval)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.showLocked()
			p.mu.Unlock()
		}
	}
}

// showLocked ignores errors of w: a progress that cannot be shown must not end what it shows.
func (p *Progress) showLocked() {
	if p.name == "" {
		return
	}
	took := step{p.step.expected, time.Since(p.begun)}
	if columns := p.columns(); columns > 0 {
		fmt.Fprintf(p.w, "\r\x1b[K%s", cut(progressLine(p.name, p.expected, p.past, took), columns-1))
		return
	}
	if now := time.Now(); p.lastLine.IsZero() || now.Sub(p.lastLine) >= plainInterval {
		p.lastLine = now
		share, left := remaining(p.expected, p.past, took)
		fmt.Fprintf(p.w, "%3.0f %%, %s left: %s\n", 100*share, clock(left), p.name)
	}
}

func (p *Progress) clearLocked() error {
	if p.columns() == 0 {
		return nil
	}
	_, err := io.WriteString(p.w, "\r\x1b[K")
	return err
}

func progressLine(name string, expected time.Duration, past, current step) string {
	share, left := remaining(expected, past, current)
	full := int(share * barWidth)
	bar := strings.Repeat("█", full) + strings.Repeat("░", barWidth-full)
	return fmt.Sprintf("%s %3.0f %%  %s left  %s", bar, 100*share, clock(left), name)
}

// remaining returns what share is done, and how long the rest takes if it is as slow as what is past.
func remaining(expected time.Duration, past, current step) (share float64, left time.Duration) {
	slow := 1.0
	if past.expected > 0 {
		slow = float64(past.took) / float64(past.expected)
	}
	whole := time.Duration(slow * float64(current.expected))
	current.took = min(current.took, whole) // a step that takes longer stands still
	rest := time.Duration(slow*float64(max(0, expected-past.expected-current.expected))) + whole - current.took
	all := past.took + current.took + rest
	if all <= 0 {
		return 1, 0
	}
	return float64(all-rest) / float64(all), rest
}

// clock is minutes and seconds, after the hours if there are some.
func clock(d time.Duration) string {
	seconds := int(d.Round(time.Second).Seconds())
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

func cut(text string, columns int) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), max(0, columns))])
}
