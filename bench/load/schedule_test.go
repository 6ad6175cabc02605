package load

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// until returns what comes before an end.
func (a arrivals) until(end time.Duration) (times []time.Duration) {
	for at := a.next(); at < end; at = a.next() {
		times = append(times, at)
	}
	return times
}

func TestSchedulePoisson(t *testing.T) {
	p := Plan{Rate: 1000, Connections: 10, KeepAlive: true, Seed: 1}
	total, squares, gaps := 0, 0.0, 0.0
	for _, a := range p.schedules() {
		last := time.Duration(0)
		for _, at := range a.until(100 * time.Second) {
			if at < last { // a hundred thousand times: assert would take seconds
				assert.GreaterOrEqual(t, at, last)
			}
			gap := (at - last).Seconds()
			gaps, squares, last = gaps+gap, squares+gap*gap, at
			total++
		}
	}
	assert.InEpsilon(t, 100_000, total, 0.02) // the standard deviation is 0.3 %
	mean := gaps / float64(total)
	deviation := math.Sqrt(squares/float64(total) - mean*mean)
	assert.InEpsilon(t, 1, deviation/mean, 0.03, "exponential gaps deviate by their mean")
}

func TestScheduleSeed(t *testing.T) {
	p := Plan{Rate: 1000, Connections: 3, KeepAlive: true, Seed: 7}
	first := p.schedules()
	for i, a := range p.schedules() {
		assert.Equal(t, first[i].until(time.Second), a.until(time.Second))
	}
	again := p.schedules()
	assert.NotEqual(t, again[0].until(time.Second), again[1].until(time.Second), "connections are independent")
	p.Seed = 8
	assert.NotEqual(t, p.schedules()[2].until(time.Second), again[2].until(time.Second))
}

func TestScheduleUneven(t *testing.T) {
	p := Plan{Rate: 1000, Connections: 100, KeepAlive: true, Uneven: true}
	shares := p.shares()
	sum := 0.0
	for i, share := range shares {
		assert.InEpsilon(t, shares[0]/float64(i+1), share, 1e-9)
		sum += share
	}
	assert.InDelta(t, 1, sum, 1e-9)
	all := p.schedules()
	assert.InEpsilon(t, 1000*100*shares[0], len(all[0].until(100*time.Second)), 0.05)
}

func TestScheduleShort(t *testing.T) {
	all := Plan{Rate: 1000, Connections: 5, Seed: 3}.schedules()
	assert.Len(t, all, 1, "short connections have one schedule, whatever became of the others")
	assert.InEpsilon(t, 10_000, len(all[0].until(10*time.Second)), 0.05)
}

func TestScheduleBurst(t *testing.T) {
	all := Plan{Burst: 3, Rate: 3}.schedules()
	assert.Equal(t, []time.Duration{0, 0, 0, time.Second, time.Second, time.Second}, all[0].until(2*time.Second))
}

func TestLot(t *testing.T) {
	count := func(p Plan, client int) (slow int) {
		l := p.lot(client)
		for range 100_000 {
			if l.slow() {
				slow++
			}
		}
		return slow
	}
	assert.InEpsilon(t, 1000, count(Plan{Cost: Cost{SlowShare: 0.01}}, 0), 0.15)
	first := count(Plan{Cost: Cost{SlowShare: 0.5}, Seed: 1}, 3)
	assert.Equal(t, first, count(Plan{Cost: Cost{SlowShare: 0.5}, Seed: 1}, 3))
	assert.NotEqual(t, first, count(Plan{Cost: Cost{SlowShare: 0.5}, Seed: 2}, 3))
	assert.Zero(t, count(Plan{}, 0))
	assert.Equal(t, 100_000, count(Plan{Cost: Cost{SlowShare: 1}}, 0))
}
