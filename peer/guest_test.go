package peer

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// idsFrom returns a NextID that assigns ids from first on.
func idsFrom(first int64) func() int {
	var next atomic.Int64
	next.Store(first)
	return func() int { return int(next.Add(1)) - 1 }
}

// A process that the cluster has not started joins, talks with all nodes, and leaves.
func TestGuest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	streams := make(chan *Stream, 10)
	onStream := func(s *Stream) { streams <- s }
	only := func(info Info) bool { return info.Generation == 0 && info.ID > 1 }
	meshes := []*Mesh{
		joinTest(t, openAt(t, path), Options{Self: Info{ID: 0, Generation: 1}, inside: inside.Options{NextID: idsFrom(7)}}),
		joinTest(t, openAt(t, path), Options{Self: Info{ID: 1, Slot: 1, Generation: 1}}),
	}
	var all []<-chan Event
	for _, m := range meshes {
		_, err := m.OnStream("x", only, onStream)
		require.NoError(t, err)
		all = append(all, events(m))
		assert.Equal(t, Joined, receive(t, all[len(all)-1]).Type, "master and worker")
	}
	guest := child.Start(t, childJob{Directory: path, Join: true, Guest: true})
	for i, m := range meshes {
		joined := receive(t, all[i])
		want := Info{Cluster: "test", ID: 7, Incarnation: joined.Peer.Incarnation, PID: guest.Pid}
		assert.Equal(t, Event{Type: Joined, Peer: want}, joined)
		assert.Contains(t, m.Peers(), want)
		s := receive(t, streams)
		assert.Equal(t, want, s.Peer())
		requireEcho(t, s)
	}
	require.NoError(t, guest.Leave())
	for i := range meshes {
		left := receive(t, all[i])
		assert.Equal(t, []any{Left, 7, ReasonLeft}, []any{left.Type, left.Peer.ID, left.Reason})
	}
	second, err := Join(t.Context(), Options{Directory: path, Self: Info{Cluster: "test"}})
	require.NoError(t, err)
	defer second.Close()
	assert.Equal(t, 8, second.Self().ID, "no id is given twice")
}

func TestGuestsAtOnce(t *testing.T) {
	d := openTemp(t)
	joinTest(t, d, Options{inside: inside.Options{NextID: idsFrom(1)}})
	ids := make(chan int, 10)
	for range cap(ids) {
		go func() { // ended by Join and Close
			id := 0
			m, err := Join(context.Background(), Options{Directory: d.Path(), Self: Info{Cluster: "test"}})
			if assert.NoError(t, err) {
				id = m.Self().ID
				assert.NoError(t, m.Close())
			}
			ids <- id
		}()
	}
	seen := make(map[int]bool)
	for range cap(ids) {
		seen[receive(t, ids)] = true
	}
	assert.Len(t, seen, cap(ids))
}

func TestGuestWithoutMaster(t *testing.T) {
	d := openTemp(t)
	joinTest(t, d, Options{Self: Info{ID: 3}})
	guest := Options{Directory: d.Path(), Self: Info{Cluster: "test"}}
	_, err := Join(t.Context(), guest)
	require.ErrorIs(t, err, ErrNoMaster)
	require.ErrorContains(t, err, "peer: join: ask the master in "+d.Path()+" for an id")

	c := child.Start(t, childJob{Directory: d.Path(), Join: true, Lock: true})
	c.End()
	_, err = Join(t.Context(), guest)
	require.ErrorIs(t, err, ErrNoMaster, "it was killed, and has left its link")
}

// A master has the lock before it can be asked.
func TestGuestWaitsForTheMaster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	d := openAt(t, path)
	lock, err := d.Lock(rendezvous.Owner{})
	require.NoError(t, err)
	inVain(t, "the master does not answer", func(ctx context.Context) error {
		_, err := Join(ctx, Options{Directory: path, Self: Info{Cluster: "test"}})
		return err
	})

	joined := make(chan int, 1)
	guests := openAt(t, path)
	go func() { // ended when the master is there
		m, err := Join(context.Background(), Options{Directory: guests.Path(), Self: Info{Cluster: "test"}})
		id := 0
		if assert.NoError(t, err) {
			id = m.Self().ID
			assert.NoError(t, m.Close())
		}
		joined <- id
	}()
	joinTest(t, d, Options{inside: inside.Options{NextID: idsFrom(5)}})
	assert.Equal(t, 5, receive(t, joined))
	require.NoError(t, lock.Release())
}

func TestGuestRefused(t *testing.T) {
	d := openTemp(t)
	joinTest(t, d, Options{Self: Info{Cluster: "shop"}})
	for cluster, want := range map[string]string{
		"test": `Multinode-Cluster "test": this node belongs to cluster "shop"`,
		"shop": `cluster "shop" takes no guests`,
	} {
		_, err := Join(t.Context(), Options{Directory: d.Path(), Self: Info{Cluster: cluster}})
		require.ErrorContains(t, err, want)
	}
	_, err := Join(t.Context(), Options{Directory: d.Path(), Self: Info{Cluster: "shop", Slot: 1}})
	require.ErrorContains(t, err, "slot 1, generation 0: a guest, which has no id yet, has neither")
	_, err = Join(t.Context(), Options{
		Directory: d.Path(), Self: Info{Cluster: "shop"}, versions: versions{8, 9},
	})
	require.ErrorContains(t, err, "versions 8 to 9: this node speaks versions 1 to 2")
}

// A program that is no node of this package needs nothing but HTTP.
func TestMasterSocketSpeaksHTTP(t *testing.T) {
	base, err := os.MkdirTemp("", "") //nolint:usetesting // short: the client knows no way around the limit of sun_path
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(base) }) // after the meshes have left
	d := openAt(t, filepath.Join(base, "d"))
	joinTest(t, d, Options{inside: inside.Options{NextID: idsFrom(5)}})
	worker := joinTest(t, d, Options{Self: Info{ID: 1}})
	post := func(socket string) (status int, body string) {
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(d.Path(), socket))
			},
		}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://multinode/nodes", http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Multinode-Cluster", "test")
		answer, err := client.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, strings.TrimSpace(string(content))
	}
	status, body := post("master.sock")
	assert.Equal(t, http.StatusOK, status)
	assert.JSONEq(t, `{"id":5}`, body)
	status, body = post(worker.self.node().SocketName())
	assert.Equal(t, http.StatusNotFound, status)
	assert.Equal(t, "node 1 is not the master, which gives out ids", body)
}

func TestMasterSocket(t *testing.T) {
	d := openTemp(t)
	path := filepath.Join(d.Path(), "master.sock")
	require.NoError(t, os.Symlink("0-9f86d081884c7d65.sock", path)) // of a master that was killed
	m := joinTest(t, d, Options{})
	target, err := os.Readlink(path)
	require.NoError(t, err)
	assert.Equal(t, m.self.node().SocketName(), target)
	require.NoError(t, os.Remove(path))
	require.Eventually(t, func() bool { _, err := os.Readlink(path); return err == nil }, limit, time.Millisecond)
	require.NoError(t, m.Close())
	assert.Empty(t, files(t, d))

	m = joinTest(t, d, Options{})
	require.NoError(t, os.Symlink("another", path+".new"))
	require.NoError(t, os.Rename(path+".new", path))
	require.NoError(t, m.Close())
	assert.Equal(t, []string{"master.sock"}, files(t, d), "that of another master is left alone")

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = start(t.Context(), Options{Directory: d.Path(), Self: Info{Cluster: "test"}, inside: inside.Options{NextID: noGuests}})
	require.ErrorContains(t, err, path+" is not a symbolic link")
	assert.Equal(t, []string{"master.sock"}, files(t, d))
}

func FuzzGuestAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"id\":5}"))
	f.Add([]byte("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://multinode/nodes", http.NoBody)
		require.NoError(t, err)
		answer, _, err := roundTrip(&scripted{Reader: strings.NewReader(string(raw))}, request)
		if err != nil {
			return
		}
		defer answer.Body.Close()
		if id, err := parseGuestID(answer); err == nil {
			assert.Positive(t, id)
		}
	})
}

// A successor that fails had the link, and takes it along.
func TestShowMaster(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	first := joinTest(t, dir, Options{inside: inside.Options{NextID: noGuests}})
	second, err := Join(t.Context(), Options{Directory: dir.Path(), Self: Info{Cluster: "test", ID: 1}, inside: inside.Options{NextID: noGuests}})
	require.NoError(t, err)
	path := filepath.Join(dir.Path(), "master.sock")
	target, err := os.Readlink(path)
	require.NoError(t, err)
	assert.Equal(t, second.Self().node().SocketName(), target)
	require.NoError(t, second.Close())
	require.NoError(t, inside.Of(first).ShowMaster())
	target, err = os.Readlink(path)
	require.NoError(t, err)
	assert.Equal(t, first.Self().node().SocketName(), target)

	worker, err := Join(t.Context(), Options{Directory: dir.Path(), Self: Info{Cluster: "test", ID: 2}})
	require.NoError(t, err)
	require.ErrorContains(t, inside.Of(worker).ShowMaster(), "NextID")
	require.NoError(t, worker.Close())
}
