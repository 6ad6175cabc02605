package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

const maxGuestDelay = 100 * time.Millisecond // between two questions to a master that starts

// guestID is the answer to a guest.
type guestID struct {
	ID int `json:"id"`
}

// guests answers the requests of guests for an id, if this node is the master.
type guests struct{ *core }

// handle answers with an id. The guest need not use this package: the request has to name the cluster, and nothing else.
func (g guests) handle(w http.ResponseWriter, r *http.Request) {
	pid, _, _ := localhttp.Credentials(localhttp.Conn(r)) // Accept has looked at the error
	id, refused := g.admit(r.Header)
	if refused != nil {
		g.log.Warn("guest refused", "pid", pid, "reason", refused.reason)
		http.Error(w, refused.reason, refused.status)
		return
	}
	g.log.Info("a guest gets an id", "pid", pid, "id", id)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(guestID{id}) // a guest that is gone needs no id
}

func (g guests) admit(h http.Header) (int, *refusedError) {
	if g.opts.inside.NextID == nil {
		return 0, refuse(http.StatusNotFound, "node %d is not the master, which gives out ids", g.self.ID)
	}
	if h.Get(headerVersion) != "" {
		if _, refused := g.opts.versions.agree(h); refused != nil {
			return 0, refused
		}
	}
	if cluster := h.Get(headerCluster); cluster != g.self.Cluster {
		return 0, refuse(http.StatusConflict, "%s %.80q: this node belongs to cluster %q",
			headerCluster, cluster, g.self.Cluster)
	}
	id := g.opts.inside.NextID()
	if id <= 0 {
		return 0, refuse(http.StatusForbidden, "cluster %q takes no guests", g.self.Cluster)
	}
	return id, nil
}

// askMaster asks the master for an id, and waits for a master that holds the lock of the cluster and is starting.
func askMaster(ctx context.Context, opts Options) (int, error) {
	for delay := minDelay; ; delay = min(2*delay, maxGuestDelay) {
		id, err := askMasterOnce(ctx, opts)
		if err == nil {
			return id, nil
		}
		if ctx.Err() == nil && !isPassing(err) {
			return 0, err
		}
		if locked, lockErr := opts.inside.Directory.Locked(); lockErr != nil || !locked {
			return 0, errors.Join(lockErr, fmt.Errorf("%w: %w", ErrNoMaster, err))
		}
		select {
		case <-time.After(delay/2 + rand.N(delay)):
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: the master does not answer: %w", context.Cause(ctx), err)
		}
	}
}

func askMasterOnce(ctx context.Context, opts Options) (int, error) {
	conn, err := opts.inside.Directory.DialMaster()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := localhttp.CheckOwn(conn); err != nil {
		return 0, err
	}
	if err := conn.SetDeadline(time.Now().Add(2 * opts.handshakeTimeout)); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it is over at once
	defer stop()
	header := http.Header{headerCluster: {opts.Self.Cluster}}
	opts.versions.set(header)
	answer, _, err := roundTrip(conn, &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: guestsPath}, Host: protocol, Header: header,
	})
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	return parseGuestID(answer)
}

func parseGuestID(answer *http.Response) (int, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxReason))
	if err != nil {
		return 0, fmt.Errorf("read the answer of the master: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return 0, refuse(answer.StatusCode, "%s", strings.TrimSpace(string(body)))
	}
	var got guestID
	if err := json.Unmarshal(body, &got); err != nil || got.ID <= 0 {
		return 0, fmt.Errorf("the master gives no id: %.80q", body)
	}
	return got.ID, nil
}
