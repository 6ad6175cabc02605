package peer

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// handshakeTimeout bounds the time of a dialer for its request, and of a listener for its answer.
const handshakeTimeout = 5 * time.Second

// Options are the options of Join. Self.Cluster is required.
type Options struct {
	// Directory is the path of the rendezvous directory. Join makes it and its parents, with mode 0700, if absent, and
	// Close removes what Join has made unless another node is there. It must belong to our user, without rights for others.
	// Default: multinode/CLUSTER in $XDG_RUNTIME_DIR if that is an absolute path to a directory of ours, else
	// multinode-UID/CLUSTER in the directory for temporary files.
	Directory string
	// Self is this node. Join sets PID, and Incarnation if that is 0. A guest has ID, Slot and Generation 0: it gets its id
	// from the master, and waits for a master that is starting.
	Self Info
	// Logger receives refusals and failures that persist. Nil discards them.
	Logger *slog.Logger

	inside           inside.Options
	versions         versions                                               // for tests
	handshakeTimeout time.Duration                                          // for tests
	watch            func(*rendezvous.Directory) (*fsnotify.Watcher, error) // for tests
}

func (opts *Options) check() error {
	switch self := opts.Self; {
	case self.ID < 0 || self.Slot < 0 || self.Generation < 0:
		return fmt.Errorf("id %d, slot %d, generation %d: none can be negative", self.ID, self.Slot, self.Generation)
	case opts.isGuest() && (self.Slot != 0 || self.Generation != 0):
		return fmt.Errorf("slot %d, generation %d: a guest, which has no id yet, has neither", self.Slot, self.Generation)
	}
	return rendezvous.CheckCluster(opts.Self.Cluster)
}

func (opts *Options) isGuest() bool { return opts.Self.ID == 0 && opts.inside.NextID == nil }

// open opens the directory of the options.
func (opts *Options) open() (err error) {
	path := opts.Directory
	if path == "" {
		if path, err = rendezvous.DefaultPath(opts.Self.Cluster); err != nil {
			return err
		}
	}
	opts.inside.Directory, err = rendezvous.Open(path)
	return err
}

// fill sets the defaults of unset options.
func (opts *Options) fill() {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.versions = cmp.Or(opts.versions, versions{oldestVersion, newestVersion})
	opts.handshakeTimeout = cmp.Or(opts.handshakeTimeout, handshakeTimeout)
	if opts.watch == nil {
		opts.watch = (*rendezvous.Directory).Watch
	}
	opts.Self.PID = os.Getpid()
	if opts.Self.Incarnation == 0 {
		opts.Self.Incarnation = rendezvous.NewIncarnation()
	}
}
