package cost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster/control"
)

const (
	// natsPackage is the broker of NATS, and catalogPackage an application with a database and the cache.
	natsPackage    = "github.com/nats-io/nats-server/v2"
	catalogPackage = "github.com/multinode-go/multinode/cmd/catalog"
	// natsConfig is more than bench ever sends at once, or the client were cut off.
	natsConfig = "max_pending: 1GB\n"
	// redisProgram is the server in Debian's package of this name.
	redisProgram = "redis-server"
	redisMissing = "Redis is left out: apt-get install " + redisProgram + "\n\n"
)

// build puts programs of the module into dir, each with its own name.
func build(ctx context.Context, dir string, packages ...string) error {
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v, which works in a folder of the repository: %w\n%s", cmd, err, out)
	}
	return nil
}

func hasRedis() bool {
	_, err := exec.LookPath(redisProgram)
	return err == nil
}

// command returns the server of a team, nil if it has none, and what it writes when it serves. A group in that is its address, if it
// was not told one.
func (t *team) command(programs string) (cmd *exec.Cmd, ready string, err error) {
	ctx := context.Background() // the end of the team ends it
	t.end = syscall.SIGTERM     // SIGINT may be ignored in the background of a shell
	switch t.System {
	case roles.Plain, roles.Cluster:
		if t.System == roles.Plain {
			t.end = nil
		}
		cmd, err = child.Command(ctx, roles.PlayerRole, t.Player)
		return cmd, "^ready (.+)", err
	case roles.NATS, roles.NATSCached:
		config := filepath.Join(t.Dir, "nats.conf")
		cmd = exec.CommandContext(ctx, filepath.Join(programs, "nats-server"), "-a", "127.0.0.1", "-p", "-1", "-c", config, "-l", "/dev/stdout")
		return cmd, `client connections on (\S+)`, os.WriteFile(config, []byte(natsConfig), 0o600)
	case roles.RedisCached: // with its default configuration, without a file, on a free port
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", err
		}
		t.Server = l.Addr().String()
		host, port, err := net.SplitHostPort(t.Server)
		cmd = exec.CommandContext(ctx, redisProgram, "--bind", host, "--port", port, "--save", "", "--dir", t.Dir)
		return cmd, "Ready to accept connections", errors.Join(err, l.Close())
	case roles.Shop, roles.ShopNoCache:
		cmd = exec.CommandContext(ctx, filepath.Join(programs, "catalog"), "-addr", "127.0.0.1:0", "-nodes", "4",
			"-dir", filepath.Join(t.Dir, "mesh"), "-db", filepath.Join(t.Dir, "catalog.db"))
		if t.System == roles.ShopNoCache {
			cmd.Args = append(cmd.Args, "-nocache")
		}
		return cmd, `open http://([^/ ]+)`, nil
	}
	return nil, "", nil
}

// startServer returns when the server serves. All of its processes are there then.
func (t *team) startServer(programs string) error {
	cmd, ready, err := t.command(programs)
	if cmd == nil || err != nil {
		return err
	}
	child.SetGOMAXPROCS(cmd, t.GOMAXPROCS)
	begin := time.Now()
	if t.server, err = child.StartLogged(t.System, cmd, t.log()); err != nil {
		return err
	}
	for said := regexp.MustCompile(ready); ; {
		line, err := t.server.Line(0, "")
		if err != nil {
			return err
		}
		if found := said.FindStringSubmatch(line); found != nil {
			t.start.Elapsed = time.Since(begin)
			if len(found) > 1 {
				t.Server = found[1]
			}
			break
		}
	}
	workers := proc.Find(func(p procfs.ProcStat) bool { return p.PPID == t.server.PID() })
	t.pids = append([]int{t.server.PID()}, proc.PIDs(workers)...)
	return nil
}

// load applies a closed loop to the server.
func (t *team) load(p load.Plan) measureFunc {
	return func(ctx context.Context) (r roles.Result, err error) {
		p.Addrs = []string{t.Server}
		before := proc.CPU(t.pids...)
		run, err := load.Start(ctx, p)
		if err != nil {
			return r, err
		}
		got, err := run.Wait()
		if err != nil {
			return r, err
		}
		r = roles.Result{
			Requests: got.Requests, Failures: got.Failures(), Elapsed: got.Elapsed, CPU: proc.CPU(t.pids...) - before,
			Latency: roles.Latency{P50: got.Quantile(50), P99: got.Quantile(99), Max: got.Quantile(100)},
		}
		if r.Failures > 0 {
			err = fmt.Errorf("load on %s: %d requests failed, and %d did not: %v", t.Server, r.Failures, r.Requests, got.Failed)
		}
		return r, err
	}
}

// memory takes the resident memory of the process that serves, the last one, in MiB.
func memory(_ context.Context, t *team, r *roles.Result) error {
	r.Memory, _ = proc.Memory(t.pids[len(t.pids)-1])
	return nil
}

// restart takes how long a worker is missed that is killed.
func restart(ctx context.Context, t *team, r *roles.Result) error {
	events, err := control.NewClient(t.Dir).Events(ctx, control.FromNow)
	if err != nil {
		return err
	}
	defer events.Close()
	if len(t.pids) != 2 {
		return fmt.Errorf("want a master and a worker, have %v", t.pids)
	}
	begin := time.Now()
	if err := syscall.Kill(t.pids[1], syscall.SIGKILL); err != nil {
		return err
	}
	for e := (control.Event{}); e.Kind != control.EventReady; {
		if e, err = events.Next(); err != nil {
			return err
		}
	}
	r.Elapsed = time.Since(begin)
	return nil
}
