package peer

import (
	"errors"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	pollInterval  = 100 * time.Millisecond // without events
	sweepInterval = 5 * time.Second        // with events, whatever they say
	eventBuffer   = 64                     // events that become one scan
)

// watch returns a watcher of the directory.
func (d *Directory) watch() (*fsnotify.Watcher, error) {
	watcher, err := fsnotify.NewBufferedWatcher(eventBuffer)
	if err != nil {
		return nil, err
	}
	if err := d.at(".", watcher.Add); err != nil {
		_ = watcher.Close() // nothing was watched
		return nil, err
	}
	return watcher, nil
}

// discover makes the first scan, and goes on scanning. The watch begins before the scan, so that nothing falls between
// them.
func (m *Mesh) discover() error {
	watcher, err := m.opts.watch(m.dir)
	if err != nil { // 128 inotify instances is all that a user has, by default
		m.log.Info("no events of the directory, so it is read every 100 ms", "error", err)
		watcher = nil
	}
	if err := m.scan(true); err != nil {
		if watcher != nil {
			err = errors.Join(err, watcher.Close())
		}
		return err
	}
	m.running.Go(func() { m.follow(watcher) }) // ended by Close, which waits
	return nil
}

// follow scans whenever something may have changed: an event, an overflow, any other error of the watcher, or time.
// It polls when watcher is nil.
func (m *Mesh) follow(watcher *fsnotify.Watcher) {
	var events <-chan fsnotify.Event
	var failures <-chan error
	var polls <-chan time.Time
	if watcher != nil {
		defer watcher.Close()
		events, failures = watcher.Events, watcher.Errors
	} else {
		ticker := time.NewTicker(pollInterval)
		defer ticker.Stop()
		polls = ticker.C
	}
	sweeps := time.NewTicker(sweepInterval)
	defer sweeps.Stop()
	for {
		sweep := false
		select {
		case <-events:
		case err := <-failures:
			m.log.Debug("events of the directory were lost", "error", err)
		case <-polls:
		case <-sweeps.C:
			sweep = true
		case <-m.closing:
			return
		}
		drain(events)
		if err := m.scan(sweep); err != nil {
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
	nodes, err := m.dir.nodes()
	if err != nil {
		return err
	}
	for n, published := range nodes {
		switch {
		case n == m.self.node():
		case sweep && m.gone(n):
		case published && n.id > m.self.ID:
			m.keepLink(n)
		}
	}
	return nil
}
