package rendezvous

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLockNamesItsOwner(t *testing.T) {
	d := openTemp(t)
	owner := Owner{PID: 4711, Cluster: "web", Address: ":8080", Since: time.Now().Round(0)}
	lock, err := d.Lock(owner)
	require.NoError(t, err)

	_, err = d.Lock(Owner{PID: 4712})
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	assert.Equal(t, filepath.Join(d.Path(), "master.lock"), locked.Path)
	assert.WithinDuration(t, owner.Since, locked.Owner.Since, 0)
	locked.Owner.Since, owner.Made = owner.Since, 1
	assert.Equal(t, owner, locked.Owner)
	for _, want := range []string{d.Path(), "process 4711", `"web"`, ":8080", "stop that one, or choose another"} {
		require.ErrorContains(t, err, want)
	}

	require.NoError(t, lock.Release())
	assert.NoFileExists(t, locked.Path)
	second, err := d.Lock(Owner{PID: 4712})
	require.NoError(t, err)
	require.NoError(t, lock.Release(), "a second Release leaves the next owner's lock alone")
	assert.FileExists(t, locked.Path)
	require.NoError(t, second.Release())
}

func TestLocked(t *testing.T) {
	d := openTemp(t)
	isLocked := func() bool {
		locked, err := d.Locked()
		require.NoError(t, err)
		return locked
	}
	assert.False(t, isLocked(), "no file")
	lock, err := d.Lock(Owner{})
	require.NoError(t, err)
	assert.True(t, isLocked())
	require.NoError(t, lock.Release())
	assert.False(t, isLocked(), "released")
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "master.lock"), []byte("left by the dead"), 0o600))
	assert.False(t, isLocked(), "a file that nobody holds")
}

func TestLockWhileOthersAsk(t *testing.T) {
	d := openTemp(t)
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_, err := d.Locked()
					assert.NoError(t, err)
				}
			}
		})
	}
	for range 200 {
		lock, err := d.Lock(Owner{})
		if assert.NoError(t, err) {
			assert.NoError(t, lock.Release())
		}
	}
	close(done)
	group.Wait()
}

func TestLockRefusesWhatIsNoPlainFile(t *testing.T) {
	d := openTemp(t)
	target := filepath.Join(t.TempDir(), "target")
	require.NoError(t, os.Symlink(target, filepath.Join(d.Path(), "master.lock")))
	_, err := d.Lock(Owner{})
	require.ErrorContains(t, err, "is not a plain file")
	require.NotContains(t, err.Error(), "rm ")
	assert.NoFileExists(t, target, "the link is not followed")
	_, err = d.Locked()
	assert.ErrorContains(t, err, "is not a plain file")
}

func TestLockIsFreeAfterKill(t *testing.T) {
	d := openTemp(t)
	c := child.Start(t, childJob{Directory: d.Path(), Lock: true})
	_, err := d.Lock(Owner{})
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	assert.Equal(t, c.Pid, locked.Owner.PID)
	c.End()
	is, err := d.Locked()
	require.NoError(t, err)
	assert.False(t, is)
	lock, err := d.Lock(Owner{})
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

func TestLockCountsIDs(t *testing.T) {
	d := openTemp(t)
	lock, err := d.Lock(Owner{PID: 1, Cluster: "a cluster whose owner takes many bytes"})
	require.NoError(t, err)
	id, err := lock.MasterID()
	require.NoError(t, err)
	assert.Zero(t, id, "of a new cluster")
	for want := range 3 {
		id, err := lock.NextID()
		require.NoError(t, err)
		assert.Equal(t, want+1, id)
	}
	require.NoError(t, lock.HandOver(), "as if it were killed")
	require.NoError(t, lock.HandOver())
	_, err = lock.NextID()
	require.ErrorContains(t, err, "was released")

	lock, err = d.Lock(Owner{PID: 2, Cluster: "b"})
	require.NoError(t, err)
	id, err = lock.MasterID()
	require.NoError(t, err)
	assert.Equal(t, 4, id, "an id that nobody had")
	require.NoError(t, lock.SetAddress("127.0.0.1:80"))
	_, err = d.Lock(Owner{PID: 3})
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	assert.Equal(t, Owner{PID: 2, Cluster: "b", Address: "127.0.0.1:80", LastID: 4, Made: 1}, locked.Owner)
	require.NoError(t, lock.Release())

	lock, err = d.Lock(Owner{PID: 4})
	require.NoError(t, err)
	id, err = lock.MasterID()
	require.NoError(t, err)
	assert.Zero(t, id, "the cluster before has ended")
	require.NoError(t, lock.Release())
}

func TestLockCountsOnFromNodesThatLive(t *testing.T) {
	d := openTemp(t)
	for _, id := range []int{3, 12, 7} {
		leaveSocket(t, d, Node{id, NewIncarnation()}.SocketName())
	}
	lock, err := d.Lock(Owner{PID: 1})
	require.NoError(t, err)
	id, err := lock.NextID()
	require.NoError(t, err)
	assert.Equal(t, 13, id)
	require.NoError(t, lock.Release())
}

// TestLockRemembersWhatWasMade: a master that is killed leaves its directory to the next one.
func TestLockRemembersWhatWasMade(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "parent")
	first, err := Open(filepath.Join(parent, "dir"))
	require.NoError(t, err)
	lock, err := first.Lock(Owner{PID: 1})
	require.NoError(t, err)
	require.NoError(t, lock.HandOver(), "as if it were killed")
	require.NoError(t, first.Close())

	second, err := Open(first.Path())
	require.NoError(t, err)
	lock, err = second.Lock(Owner{PID: 2})
	require.NoError(t, err)
	require.NoError(t, lock.Release())
	require.NoError(t, second.Remove())
	assert.NoDirExists(t, parent)
}
