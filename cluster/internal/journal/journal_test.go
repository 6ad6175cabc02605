package journal

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// event is the type of the events of these tests.
type event struct {
	Seq  int
	Time time.Time
	Text string
}

// newJournal returns an empty journal.
func newJournal() *Journal[event] {
	return New(func(e event, seq int, now time.Time) event {
		e.Seq, e.Time = seq, now
		return e
	})
}

func seqs(events []event) (all []int) {
	for _, e := range events {
		all = append(all, e.Seq)
	}
	return all
}

func TestWatch(t *testing.T) {
	j := newJournal()
	begin := time.Now()
	for slot := range 3 {
		j.Emit(event{Text: strconv.Itoa(slot), Seq: 99})
	}
	for after, want := range map[int][]int{
		0: {1, 2, 3}, -1: {1, 2, 3}, 1: {2, 3}, 3: nil, FromNow: nil,
		4: {1, 2, 3}, // of another journal
	} {
		past, next, cancel := j.Watch(after)
		assert.Equal(t, want, seqs(past), "after %d", after)
		assert.Empty(t, next)
		cancel()
		cancel()
		_, open := <-next
		assert.False(t, open)
	}
	past, next, cancel := j.Watch(2)
	defer cancel()
	assert.Equal(t, "2", past[0].Text)
	assert.False(t, past[0].Time.Before(begin))
	j.Emit(event{Text: "died"})
	e := <-next
	assert.Equal(t, []any{4, "died"}, []any{e.Seq, e.Text})
}

func TestForgets(t *testing.T) {
	j := newJournal()
	for range 2*Capacity + 5 {
		j.Emit(event{})
	}
	past, _, cancel := j.Watch(0)
	defer cancel()
	require.Len(t, past, Capacity)
	for i, e := range past {
		require.Equal(t, Capacity+6+i, e.Seq)
	}
	assert.Len(t, j.past, Capacity)
	recent, _, cancel := j.Watch(2*Capacity + 3)
	defer cancel()
	assert.Equal(t, []int{2*Capacity + 4, 2*Capacity + 5}, seqs(recent))
}

func TestSlowWatcher(t *testing.T) {
	j := newJournal()
	_, slow, cancelSlow := j.Watch(0)
	_, quick, cancelQuick := j.Watch(0)
	for range Capacity + 1 {
		j.Emit(event{})
		<-quick
	}
	read := 0
	for range slow { // it ends, since the channel is closed
		read++
	}
	assert.Equal(t, Capacity, read)
	cancelSlow()
	cancelQuick()
	assert.Empty(t, j.watchers)
}

func TestClose(t *testing.T) {
	j := newJournal()
	_, next, cancel := j.Watch(0)
	j.Emit(event{})
	j.Close()
	j.Close()
	j.Emit(event{})
	cancel()
	assert.Equal(t, 1, (<-next).Seq)
	_, open := <-next
	assert.False(t, open)
	past, next, cancel := j.Watch(0)
	defer cancel()
	assert.Equal(t, []int{1}, seqs(past))
	_, open = <-next
	assert.False(t, open)
}

// However many emit and watch, each watcher sees all events from its first on, in order and once.
func TestAtOnce(t *testing.T) {
	var (
		j    = newJournal()
		emit sync.WaitGroup
		read sync.WaitGroup
	)
	const emitters, each = 4, 200 // together fewer than what a watcher may be behind
	for range emitters {
		emit.Go(func() {
			for range each {
				j.Emit(event{})
			}
		})
		read.Go(func() { // ended by close
			past, next, cancel := j.Watch(0)
			defer cancel()
			last := 0
			for _, e := range past {
				assert.Equal(t, last+1, e.Seq)
				last = e.Seq
			}
			for e := range next {
				assert.Equal(t, last+1, e.Seq)
				last = e.Seq
			}
			assert.Equal(t, emitters*each, last)
		})
	}
	emit.Wait()
	j.Close()
	read.Wait()
}

// TestAwaitsItsReaders: they have read the last event before the program ends.
func TestAwaitsItsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		j.AwaitReaders(time.Hour) // without a reader
		_, next, cancel := j.Watch(FromNow)
		_, _, cancelSlow := j.Watch(FromNow)
		cancelSlow()
		cancelSlow()
		var read []string
		go func() { // ends with close
			defer cancel()
			for e := range next {
				time.Sleep(time.Second)
				read = append(read, e.Text)
			}
		}()
		j.Emit(event{Text: "last"})
		j.Close()
		j.AwaitReaders(time.Hour)
		assert.Equal(t, []string{"last"}, read)

		stuck := newJournal()
		_, _, cancelStuck := stuck.Watch(FromNow)
		defer cancelStuck()
		stuck.Close()
		begin := time.Now()
		stuck.AwaitReaders(time.Second)
		assert.Equal(t, time.Second, time.Since(begin))
	})
}
