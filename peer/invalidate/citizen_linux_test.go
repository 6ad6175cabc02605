package invalidate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

const citizenEnv = "INVALIDATE_TEST_CITIZEN"

// afterlife is how long the cache of a process that has left the mesh is still in use.
const afterlife = 50 * time.Millisecond

func init() { programs[citizenEnv] = citizenProgram }

// citizenJob is the job of the test binary as one of the processes that have the cache.
type citizenJob struct {
	Directory string
	Ledger    string
	ID        int
	Seed      uint64
	Lease     time.Duration
	Window    int // of the bus
	Slow      bool
	Messages  bool // it shares no memory
	Heap      int  // bytes that it has beside
	Idle      bool // reads and writes only when it is told to
	SmallFile bool // no file can be as large as the memory
}

func citizenProgram() int {
	var job citizenJob
	err := json.Unmarshal([]byte(os.Getenv(citizenEnv)), &job)
	if err == nil {
		err = job.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "citizen", job.ID, err)
		return 1
	}
	return 0
}

// citizen is one of the processes.
type citizen struct {
	job    citizenJob
	ledger *ledger
	mesh   *peer.Mesh
	bus    *bus.Bus
	cache  *Cache[int, uint64]
	heap   []byte
	lines  *bufio.Scanner
}

func (job citizenJob) run() error {
	c, err := newCitizen(job)
	if err != nil {
		return err
	}
	ctx := context.Background()
	opts := peer.Options{Directory: job.Directory, Self: peer.Info{Cluster: "test", ID: job.ID}}
	inside.Set(&opts, inside.Options{AllowAbsent: true})
	c.mesh, err = peer.Join(ctx, opts)
	if err != nil {
		return err
	}
	if c.bus, err = bus.New(ctx, c.mesh, bus.Options{Window: job.Window, CloseTimeout: 100 * time.Millisecond}); err != nil {
		return err
	}
	if job.SmallFile {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096}); err != nil {
			return err
		}
	}
	if err := c.makeCache(); err != nil {
		return err
	}
	fmt.Println("ready")
	if !job.Idle {
		c.work(ctx)
	}
	c.lines = bufio.NewScanner(os.Stdin)
	return c.serve(ctx)
}

func newCitizen(job citizenJob) (*citizen, error) {
	c := &citizen{job: job, heap: make([]byte, job.Heap)}
	for i := 0; i < len(c.heap); i += os.Getpagesize() {
		c.heap[i] = 1
	}
	var err error
	c.ledger, _, err = openLedger(job.Ledger)
	return c, err
}

// makeCache makes the cache on the bus.
func (c *citizen) makeCache() (err error) {
	opts := Options[int, uint64]{
		Lease: c.job.Lease, CommitTimeout: stormCommit, Tags: tagsOf, DisableSharedMemory: c.job.Messages,
	}
	if c.job.Slow {
		opts.Codec = slowCodec(c.job.Seed)
	}
	c.cache, err = New(c.bus, opts, c.load)
	return err
}

func tagsOf(key int, _ uint64) []string { return []string{fmt.Sprint(key % 8)} }

// slowCodec is that of a process that applies slowly now and then.
func slowCodec(seed uint64) Codec[int] {
	codec := defaultCodec[int]()
	parseKey := codec.Parse
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 2))
	codec.Parse = func(b []byte) (int, error) {
		mu.Lock()
		slow := random.IntN(50) == 0
		mu.Unlock()
		if slow {
			time.Sleep(3 * time.Millisecond)
		}
		return parseKey(b)
	}
	return codec
}

// load reads the row. It often waits before it returns the value.
func (c *citizen) load(ctx context.Context, key int) (uint64, error) {
	v := c.ledger.version[key].Load()
	if rand.IntN(4) == 0 {
		select {
		case <-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return v, nil
}

// work reads and writes until the ledger says stop, or the process ends.
func (c *citizen) work(ctx context.Context) {
	for i := range 2 {
		go c.read(ctx, rand.New(rand.NewPCG(c.job.Seed, uint64(i)))) // ends with the process
	}
	go c.write(ctx, rand.New(rand.NewPCG(c.job.Seed, 7))) // ends with the process
}

// serve obeys, until it is told to leave, or killed.
func (c *citizen) serve(ctx context.Context) error {
	for c.lines.Scan() {
		words := strings.Fields(c.lines.Text())
		if done, err := c.obey(ctx, words); done || err != nil {
			return err
		}
	}
	return nil
}

// read reads one key after the other, each for a millisecond: many times while it is stored, and once or a few times while it
// has to be loaded.
func (c *citizen) read(ctx context.Context, random *rand.Rand) {
	for c.ledger.stop.Load() == 0 {
		key := random.IntN(ledgerKeys)
		for begun := time.Now(); time.Since(begun) < time.Millisecond; {
			watermark := c.ledger.watermark[key].Load() // before the Get begins
			got, err := c.cache.Get(ctx, key)
			if err != nil {
				time.Sleep(time.Millisecond)
				break
			}
			c.ledger.check(c.job.ID, key, watermark, got)
		}
	}
}

func (c *citizen) write(ctx context.Context, random *rand.Rand) {
	count := &c.ledger.citizens[c.job.ID]
	for c.ledger.stop.Load() == 0 {
		time.Sleep(time.Duration(random.IntN(3000)) * time.Microsecond)
		count.writes.Add(1)
		longest := 5000
		if random.IntN(4) == 0 { // before the server has committed, often
			longest = 50
		}
		limit, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(longest))*time.Millisecond)
		if err := c.writeOne(limit, random); err != nil {
			count.unconfirmed.Add(1)
		}
		cancel()
	}
}

// writeOne changes one key or more, and notifies the checker when that is confirmed.
func (c *citizen) writeOne(ctx context.Context, random *rand.Rand) error {
	key := random.IntN(ledgerKeys)
	switch way := random.IntN(100); {
	case way == 0:
		return c.writeMany(ctx, 1, 0, c.cache.InvalidateAll)
	case way < 3:
		tag := random.IntN(8)
		return c.writeMany(ctx, 8, tag, func(ctx context.Context) error { return c.cache.InvalidateTag(ctx, fmt.Sprint(tag)) })
	case key >= updateKeys:
		return c.update(ctx, key)
	default:
		version := c.ledger.version[key].Add(1)
		err := c.cache.Invalidate(ctx, key)
		if err == nil {
			c.ledger.confirm(key, version)
		}
		return err
	}
}

// writeMany changes each key below updateKeys whose remainder is that.
func (c *citizen) writeMany(ctx context.Context, modulus, remainder int, invalidate func(context.Context) error) error {
	versions := make(map[int]uint64)
	for key := remainder; key < updateKeys; key += modulus {
		versions[key] = c.ledger.version[key].Add(1)
	}
	if err := invalidate(ctx); err != nil {
		return err
	}
	for key, version := range versions {
		c.ledger.confirm(key, version)
	}
	return nil
}

func (c *citizen) update(ctx context.Context, key int) error {
	return c.cache.Update(ctx, []int{key}, func(ctx context.Context) error {
		_, err := c.ledger.send(ctx, key)
		return err
	})
}

// obey does what the test says.
func (c *citizen) obey(ctx context.Context, words []string) (done bool, err error) {
	switch words[0] {
	case "cut": // all links
		for _, p := range c.mesh.Peers() {
			inside.Of(c.mesh).Cut(p, "test")
		}
	case "files": // no new descriptor for a while, with the links cut
		err = c.starve()
	case "leave": // the mesh, while the cache is in use
		err = errors.Join(c.bus.Close(), c.mesh.Close())
		time.Sleep(afterlife)
		done = true
	case "close":
		err = errors.Join(c.cache.Close(), c.bus.Close(), c.mesh.Close())
		done = true
	case "get":
		var key int
		_, _ = fmt.Sscan(words[1], &key)
		v, err := c.cache.Get(ctx, key)
		fmt.Println(v, err, c.cache.Stats().Serving)
	case "change":
		var key int
		_, _ = fmt.Sscan(words[1], &key)
		c.ledger.version[key].Add(1)
		fmt.Println(c.cache.Invalidate(ctx, key), c.cache.Stats().Sent)
	case "send": // a write to a server, in an update
		var key int
		var value uint64
		_, _ = fmt.Sscan(words[1]+" "+words[2], &key, &value)
		err = c.cache.Update(ctx, []int{key}, func(ctx context.Context) error {
			_, err := ask(ctx, words[3], "set", value)
			return err
		})
	case "die": // in an update, after the commit
		var key int
		_, _ = fmt.Sscan(words[1], &key)
		err = c.cache.Update(ctx, []int{key}, func(context.Context) error {
			fmt.Println("begun")
			c.lines.Scan()
			c.ledger.version[key].Add(1)
			fmt.Println("committed")
			c.lines.Scan()
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		})
	}
	return done, err
}

// starve leaves no descriptor for 300 ms, in which the links are cut.
func (c *citizen) starve() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	few := unix.Rlimit{Cur: 4, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		return err
	}
	for _, p := range c.mesh.Peers() {
		inside.Of(c.mesh).Cut(p, "test")
	}
	time.Sleep(300 * time.Millisecond)
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}
