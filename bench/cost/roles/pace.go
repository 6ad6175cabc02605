package roles

import (
	"time"

	"golang.org/x/sync/errgroup"
)

// pace says when calls are due: on a schedule, or without one each when the last one of its sender has returned.
type pace struct {
	senders    int
	begin, end time.Time
	next       func() time.Duration // from one time on the schedule to the next; nil: no schedule
	burst      int                  // how many calls are due at each
}

// run has the senders call until end. What was due before is done, also after end. A sender that has failed calls no more.
func (p pace) run(call func(sender int, due time.Time) error) error {
	due := make(chan time.Time, p.senders)
	var sending errgroup.Group
	for i := range p.senders {
		sending.Go(func() (err error) {
			for at, ok := p.take(due); ok; at, ok = p.take(due) {
				if err == nil {
					err = call(i, at)
				}
			}
			return err
		})
	}
	if p.next != nil {
		p.schedule(due)
	}
	close(due)
	return sending.Wait()
}

func (p pace) take(due <-chan time.Time) (time.Time, bool) {
	if at, ok := <-due; ok || p.next != nil {
		return at, ok
	}
	now := time.Now()
	return now, !now.After(p.end)
}

// schedule sends the time of each call that is due before end. Who receives too late is told the time at which it was due, even
// after end.
func (p pace) schedule(due chan<- time.Time) {
	for at := p.begin; at.Before(p.end); at = at.Add(p.next()) {
		time.Sleep(time.Until(at))
		for range p.burst {
			due <- at
		}
	}
}

// evenly has so many calls a second, a burst at a time.
func evenly(rate float64, burst int) func() time.Duration {
	step := time.Duration(float64(burst) / rate * float64(time.Second))
	return func() time.Duration { return step }
}
