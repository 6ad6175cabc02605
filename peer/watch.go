package peer

import (
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	pollInterval  = 100 * time.Millisecond // without events
	sweepInterval = 5 * time.Second        // with events, whatever they say
)

// feed tells when the directory may have changed.
type feed struct {
	events   <-chan fsnotify.Event
	failures <-chan error
	polls    <-chan time.Time // without events
	close    func()
}

func (m *Mesh) newFeed() *feed {
	watcher, err := m.opts.watch(m.dir)
	if err != nil { // 128 inotify instances is all that a user has, by default
		m.log.Info("no events of the directory, so it is read every 100 ms", "error", err)
		ticker := time.NewTicker(pollInterval)
		return &feed{polls: ticker.C, close: ticker.Stop}
	}
	return &feed{
		events: watcher.Events, failures: watcher.Errors,
		close: func() { _ = watcher.Close() }, // nothing is lost with it
	}
}

// discover makes the first scan, and goes on scanning. The feed begins before the scan, so that nothing falls between
// them.
func (m *Mesh) discover() error {
	watched := m.dir.Remade()
	f := m.newFeed()
	if err := m.scan(true); err != nil {
		f.close()
		return err
	}
	m.running.Go(func() { m.follow(f, watched) }) // ended by Close, which waits
	return nil
}

// follow scans whenever something may have changed: an event, an overflow, any other error of the watcher, or time. And
// it looks after what this node has in the directory.
func (m *Mesh) follow(f *feed, watched int) {
	defer func() { f.close() }()
	sweeps := time.NewTicker(sweepInterval)
	defer sweeps.Stop()
	keep := newMending(m)
	defer keep.timer.Stop()
	for {
		sweep := false
		select {
		case <-f.events:
		case err := <-f.failures:
			m.log.Debug("events of the directory were lost", "error", err)
		case <-f.polls:
		case <-sweeps.C:
			sweep = true
		case <-keep.timer.C:
			keep.mend()
		case <-m.closing:
			return
		}
		if now := m.dir.Remade(); now != watched { // made again, by this node or another one of this process
			f.close()
			watched, f, sweep = now, m.newFeed(), true
		}
		drain(f.events)
		err := m.scan(sweep)
		if damaged := keep.look(); err != nil && !damaged {
			m.log.Warn("cannot read the directory", "error", err)
		}
	}
}

// drain takes the events that are there by now: the scan that follows sees what they tell.
func drain(events <-chan fsnotify.Event) {
	for {
		select {
		case <-events:
		default:
			return
		}
	}
}

// scan keeps a link to each node that is ours to dial. With sweep it also looks for the dead among all nodes, also
// those that nobody dials.
func (m *Mesh) scan(sweep bool) error {
	nodes, err := m.dir.Nodes()
	if err != nil {
		return err
	}
	for n, published := range nodes {
		switch {
		case n == m.self.node():
		case sweep && m.gone(n):
		case published && n.ID > m.self.ID:
			m.keepLink(n)
		}
	}
	return nil
}
