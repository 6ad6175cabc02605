package report

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestProgressOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := newProgress(&b, 100*time.Second, true)
		p.Begin("short, multinode\n", 50*time.Second)
		time.Sleep(50 * time.Second)
		p.Begin("keepalive, go", 25*time.Second)
		time.Sleep(25 * time.Second)
		p.Begin(strings.Repeat("long", 100), 25*time.Second)
		p.Close()
		p.Close()
		draws := strings.Split(b.String(), "\r")
		assert.Contains(t, b.String(), "short, multinode")
		assert.Regexp(t, `50% .*50s\].* keepalive, go`, b.String())
		assert.Regexp(t, `75% .*25s\].* longlong`, b.String())
		assert.NotContains(t, b.String(), "\n", "it is one line")
		assert.NotRegexp(t, `\w`, strings.ReplaceAll(draws[len(draws)-1], "\x1b[2K", ""), "the line is cleared")
		for _, d := range draws {
			assert.Less(t, len([]rune(d)), 100)
		}
	})
}

func TestProgressWithoutATerminal(t *testing.T) {
	for name, took := range map[string]time.Duration{"as fast as expected": time.Second, "half as fast": 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			p := NewProgress(&b, 100*time.Second)
			for range 100 {
				p.Begin("step", time.Second)
				time.Sleep(took)
			}
			p.Close()
			want := []string{"0 %, 1m40s left: step", " 30 %, 1m10s left: step", " 60 %, 40s left: step", " 90 %, 10s left: step"}
			if took > time.Second {
				want = []string{
					"0 %, 1m40s left: step", " 15 %, 2m50s left: step", " 30 %, 2m20s left: step", " 45 %, 1m50s left: step",
					" 60 %, 1m20s left: step", " 75 %, 50s left: step", " 90 %, 20s left: step",
				}
			}
			assert.Equal(t, want, strings.Split(strings.TrimSpace(b.String()), "\n"), name)
		})
	}
}

// TestProgressBeyondWhatWasExpected has steps that are more than all were to be, or nothing.
func TestProgressBeyondWhatWasExpected(t *testing.T) {
	for _, expected := range []time.Duration{0, time.Second} {
		var b bytes.Buffer
		p := newProgress(&b, expected, true)
		for range 5 {
			p.Begin("step", time.Second)
		}
		share, _ := p.share()
		assert.GreaterOrEqual(t, share, 1.0)
		p.Close()
	}
}

func TestProgressAtTheSameTime(*testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, time.Second, true)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { p.Begin("step", time.Second) }) // ends by itself
	}
	all.Wait()
	p.Close()
	p.Begin("after Close", time.Second)
}

func TestProgressSurvivesATerminalThatIsGone(*testing.T) {
	p := newProgress(fullDisk{}, time.Second, true)
	p.Begin("step", time.Second)
	p.Close()
}
