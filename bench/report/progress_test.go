package report

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func terminal(columns int) func() int { return func() int { return columns } }

func TestRemaining(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name          string
		expected      time.Duration
		past, current step
		share         float64
		left          time.Duration
	}{
		{"at the beginning", 100 * s, step{}, step{10 * s, 0}, 0, 100 * s},
		{"in the first step", 100 * s, step{}, step{10 * s, 5 * s}, 0.05, 95 * s},
		{"as fast as expected", 100 * s, step{50 * s, 50 * s}, step{10 * s, 0}, 0.5, 50 * s},
		{"half as fast", 100 * s, step{50 * s, 100 * s}, step{10 * s, 10 * s}, 0.55, 90 * s},
		{"a step that takes too long", 100 * s, step{50 * s, 50 * s}, step{10 * s, time.Hour}, 0.6, 40 * s},
		{"more than expected", 100 * s, step{200 * s, 200 * s}, step{10 * s, 5 * s}, 205.0 / 210, 5 * s},
		{"nothing expected", 0, step{}, step{}, 1, 0},
	} {
		share, left := remaining(c.expected, c.past, c.current)
		assert.InDelta(t, c.share, share, 1e-9, c.name)
		assert.Equal(t, c.left, left, c.name)
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0:00", 61 * time.Second: "1:01", time.Hour + 2*time.Minute + 3*time.Second: "1:02:03", 59600 * time.Millisecond: "1:00",
	} {
		assert.Equal(t, want, clock(d))
	}
}

func TestProgressOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := newProgress(&b, 100*time.Second, terminal(60))
		p.Begin("short, multinode\n", 50*time.Second)
		time.Sleep(50 * time.Second)
		p.Begin("keepalive, go", 50*time.Second)
		time.Sleep(25*time.Second + redrawInterval/2)
		n, err := p.Write([]byte("nginx is missing\n"))
		require.NoError(t, err)
		assert.Equal(t, len("nginx is missing\n"), n)
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
		draws := strings.Split(b.String(), "\r\x1b[K")
		assert.Contains(t, draws[1], "  0 %  1:40 left  short, multinode")
		assert.Contains(t, b.String(), " 50 %  0:50 left  keepalive, go")
		assert.Contains(t, b.String(), " 75 %  0:25 left  keepalive, go")
		assert.Contains(t, draws, "nginx is missing\n", "on a line of its own")
		assert.Empty(t, draws[len(draws)-1], "the line is cleared")
		assert.Greater(t, len(draws), 100)
		for _, d := range draws {
			assert.Less(t, len([]rune(d)), 60)
		}
	})
}

func TestProgressWithoutATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewProgress(&b, 100*time.Second)
		for range 100 {
			p.Begin("step", time.Second)
			time.Sleep(time.Second)
		}
		require.NoError(t, p.Close())
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		assert.Equal(t, []string{"0 %, 1:40 left: step", " 30 %, 1:10 left: step", " 60 %, 0:40 left: step", " 90 %, 0:10 left: step"}, lines)
	})
}

func TestProgressAtTheSameTime(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, time.Second, terminal(80))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { // ends by itself
			p.Begin("step", time.Second)
			_, _ = p.Write([]byte("line\n"))
		})
	}
	all.Wait()
	require.NoError(t, p.Close())
	assert.Equal(t, 8, strings.Count(b.String(), "line\n"))
	p.Begin("after Close", time.Second) // shown once, and nothing is left that would draw it again
}

func TestProgressSurvivesATerminalThatIsGone(t *testing.T) {
	p := newProgress(fullDisk{}, time.Second, terminal(80))
	p.Begin("step", time.Second)
	_, err := p.Write([]byte("line\n"))
	require.ErrorIs(t, err, errFull)
	require.ErrorIs(t, p.Close(), errFull)
}
