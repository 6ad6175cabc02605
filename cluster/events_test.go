package cluster

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func seqs(events []Event) (all []int) {
	for _, e := range events {
		all = append(all, e.Seq)
	}
	return all
}

func TestJournalWatch(t *testing.T) {
	var j journal
	begin := time.Now()
	for slot := range 3 {
		j.emit(Event{Kind: EventReady, Slot: slot, Seq: 99})
	}
	for after, want := range map[int][]int{
		0: {1, 2, 3}, -1: {1, 2, 3}, 1: {2, 3}, 3: nil, fromNow: nil,
		4: {1, 2, 3}, // of a master before this one
	} {
		past, next, cancel := j.watch(after)
		assert.Equal(t, want, seqs(past), "after %d", after)
		assert.Empty(t, next)
		cancel()
		cancel()
		_, open := <-next
		assert.False(t, open)
	}
	past, next, cancel := j.watch(2)
	defer cancel()
	assert.Equal(t, 2, past[0].Slot)
	assert.False(t, past[0].Time.Before(begin))
	j.emit(Event{Kind: EventDied})
	e := <-next
	assert.Equal(t, []any{4, EventDied}, []any{e.Seq, e.Kind})
}

func TestJournalForgets(t *testing.T) {
	var j journal
	for range 2*remembered + 5 {
		j.emit(Event{})
	}
	past, _, cancel := j.watch(0)
	defer cancel()
	require.Len(t, past, remembered)
	for i, e := range past {
		require.Equal(t, remembered+6+i, e.Seq)
	}
	assert.Len(t, j.past, remembered)
	recent, _, cancel := j.watch(2*remembered + 3)
	defer cancel()
	assert.Equal(t, []int{2*remembered + 4, 2*remembered + 5}, seqs(recent))
}

func TestJournalSlowWatcher(t *testing.T) {
	var j journal
	_, slow, cancelSlow := j.watch(0)
	_, quick, cancelQuick := j.watch(0)
	for range remembered + 1 {
		j.emit(Event{})
		<-quick
	}
	read := 0
	for range slow { // it ends, since the channel is closed
		read++
	}
	assert.Equal(t, remembered, read)
	cancelSlow()
	cancelQuick()
	assert.Empty(t, j.watchers)
}

func TestJournalClose(t *testing.T) {
	var j journal
	_, next, cancel := j.watch(0)
	j.emit(Event{})
	j.close()
	j.close()
	j.emit(Event{})
	cancel()
	assert.Equal(t, 1, (<-next).Seq)
	_, open := <-next
	assert.False(t, open)
	past, next, cancel := j.watch(0)
	defer cancel()
	assert.Equal(t, []int{1}, seqs(past))
	_, open = <-next
	assert.False(t, open)
}

// However many emit and watch, each watcher sees all events from its first on, in order and once.
func TestJournalAtOnce(t *testing.T) {
	var (
		j    journal
		emit sync.WaitGroup
		read sync.WaitGroup
	)
	const emitters, each = 4, 200 // together fewer than what a watcher may be behind
	for range emitters {
		emit.Go(func() {
			for range each {
				j.emit(Event{})
			}
		})
		read.Go(func() { // ended by close
			past, next, cancel := j.watch(0)
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
	j.close()
	read.Wait()
}

// TestJournalAwaitsItsReaders: they are to have read the last event when the master ends.
func TestJournalAwaitsItsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		j.awaitReaders(time.Hour) // nobody reads
		_, next, cancel := j.watch(fromNow)
		_, _, cancelSlow := j.watch(fromNow)
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
		j.emit(Event{Text: "last"})
		j.close()
		j.awaitReaders(time.Hour)
		assert.Equal(t, []string{"last"}, read)

		var stuck journal
		_, _, cancelStuck := stuck.watch(fromNow)
		defer cancelStuck()
		stuck.close()
		begin := time.Now()
		stuck.awaitReaders(time.Second)
		assert.Equal(t, time.Second, time.Since(begin))
	})
}
