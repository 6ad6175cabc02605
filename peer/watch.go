package peer

import (
	"errors"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

const (
	pollInterval  = 100 * time.Millisecond // without events
	sweepInterval = 5 * time.Second        // also while events come
)

// feed signals that the directory may have changed.
type feed struct {
	events   <-chan fsnotify.Event
	failures <-chan error
	polls    <-chan time.Time // without events
	close    func()
}

// presence is this node's publication in the directory, and its scan for other nodes.
type presence struct {
	*core
	keepers *keepers
	server  *localhttp.Server
	public  *rendezvous.Publication
}

// publish publishes this node, and leads master.sock to it if it is the master.
func (p *presence) publish() (err error) {
	if p.public, err = p.dir.Publish(p.self.node()); err != nil {
		return err
	}
	listener := p.public.Listener()
	if p.opts.inside.NextID != nil && !p.opts.inside.Unshown {
		if err := p.public.ShowMaster(); err != nil {
			return errors.Join(err, p.public.Withdraw(), listener.Close())
		}
	}
	p.running.Go(func() { p.server.Serve(listener) }) // ended by server.Close in shutdown, which waits
	return nil
}

func (p *presence) newFeed() *feed {
	watcher, err := p.opts.watch(p.dir)
	if err != nil { // by default, a user can have 128 inotify instances
		p.log.Info("no events of the directory, so it is read every 100 ms", "error", err)
		ticker := time.NewTicker(pollInterval)
		return &feed{polls: ticker.C, close: ticker.Stop}
	}
	return &feed{
		events: watcher.Events, failures: watcher.Errors,
		close: func() { _ = watcher.Close() }, // nothing is lost with it
	}
}

// discover makes the first scan, and then one for each change. The feed begins before the scan, so that it misses no change.
func (p *presence) discover() error {
	watched := p.dir.Remade()
	f := p.newFeed()
	if err := p.scan(true); err != nil {
		f.close()
		return err
	}
	p.running.Go(func() { p.follow(f, watched) }) // ended by Close, which waits
	return nil
}

// follow scans the directory at each event, at each error of the watcher, such as an overflow, and at intervals. It also
// mends this node's own files.
func (p *presence) follow(f *feed, watched int) {
	defer func() { f.close() }()
	sweeps := time.NewTicker(sweepInterval)
	defer sweeps.Stop()
	keep := newMending(p)
	defer keep.timer.Stop()
	for {
		sweep := false
		select {
		case <-f.events:
		case err := <-f.failures:
			p.log.Debug("events of the directory were lost", "error", err)
		case <-f.polls:
		case <-sweeps.C:
			sweep = true
		case <-keep.timer.C:
			keep.mend()
		case <-p.closing:
			return
		}
		if now := p.dir.Remade(); now != watched { // made again, by this node or another node of this process
			f.close()
			watched, f, sweep = now, p.newFeed(), true
		}
		drain(f.events)
		err := p.scan(sweep)
		if damaged := keep.look(); err != nil && !damaged {
			p.log.Warn("cannot read the directory", "error", err)
		}
	}
}

// drain discards the pending events: the scan that follows sees their changes.
func drain(events <-chan fsnotify.Event) {
	for {
		select {
		case <-events:
		default:
			return
		}
	}
}

// scan starts the link to each node that this node has to dial. With sweep it also removes the files of dead nodes, dialed or
// not.
func (p *presence) scan(sweep bool) error {
	nodes, err := p.dir.Nodes()
	if err != nil {
		return err
	}
	for n, published := range nodes {
		switch {
		case n == p.self.node():
		case sweep && p.gone(n):
		case published && n.ID > p.self.ID:
			p.keepers.keepLink(n)
		}
	}
	return nil
}
