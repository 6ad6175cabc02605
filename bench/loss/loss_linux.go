// Package loss proves what a cluster promises of connections and requests: that none is lost when nodes are drained,
// replaced, or when their master is killed, and that only those are lost which a killed worker had. What one writes without
// us is measured in the same run, as the baseline.
//
// Servers and load are processes of their own, on the loopback interface, and those of a root user run as another one: no
// privilege has a part in it, but for the delays, which take network namespaces.
package loss

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/command"
)

// config is how much a part does.
type config struct {
	Part        string // of a process that does one
	Drains      int
	Connections int64         // at least, while they are drained
	Restarts    int           // of the baseline
	Requests    int64         // at least, of each load with keep-alive
	Delayed     int           // drains with each delay
	Clients     int           // that have a request under way at a time
	Duration    time.Duration // of the chaos
	Seed        uint64
	Closes      time.Duration // how long listeners are closed in each way
	Untimed     bool          // what takes how long is not judged: on a machine that is busy with other tests
}

var (
	long = config{
		Drains: 10000, Connections: 10e6, Restarts: 1000, Requests: 1e6, Delayed: 100, Clients: 32, Duration: 10 * time.Minute,
		Closes: time.Minute,
	}
	short = config{Drains: 40, Connections: 10e3, Restarts: 40, Requests: 20e3, Delayed: 5, Clients: 16, Closes: time.Second}
)

// part is one thing that is proved.
type part struct {
	name       string
	prove      func(context.Context, config, *report) error
	privileged bool // it needs root
}

// parts are in the order in which they run.
var parts = []part{
	{"drains", proveDrains, false},
	{"closes", proveCloses, false},
	{"delayed", proveDelayed, true},
	{"reloads", proveReloads, false},
	{"attach", proveAttach, false},
	{"master", proveMaster, false},
	{"takeovers", proveTakeovers, false},
	{"stopped", proveStopped, false},
}

// chaos is a part that is asked for by itself.
var chaos = part{"chaos", proveChaos, false}

// Run proves it all, or what -only names, and returns an error when something does not hold.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	flags := flag.NewFlagSet("loss", flag.ContinueOnError)
	brief := flags.Bool("short", false, "some seconds of each, instead of half an hour")
	only := flags.String("only", "", "only these `parts`, with commas: "+strings.Join(names, ", "))
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	c := long
	if *brief {
		c = short
	}
	wanted, err := command.Choose("part", *only, names)
	if err != nil {
		return command.Wrong(stderr, err)
	}
	chosen := slices.DeleteFunc(slices.Clone(parts), func(p part) bool {
		return len(wanted) > 0 && !slices.Contains(wanted, p.name)
	})
	return c.run(ctx, chosen, stdout, stderr)
}

// Chaos kills, stops and drains processes at random, and returns an error when a request is lost that none of that
// explains.
func Chaos(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := long
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.DurationVar(&c.Duration, "duration", c.Duration, "how long")
	flags.Uint64Var(&c.Seed, "seed", rand.Uint64(), "of what happens when")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if c.Duration <= 0 {
		return command.Wrong(stderr, errors.New("-duration must be positive"))
	}
	return c.run(ctx, []part{chaos}, stdout, stderr)
}

func parse(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	if err := command.Parse(flags, args, stderr, flags.Name()+" [flags]"); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return command.Wrong(stderr, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	return nil
}

func (c config) run(ctx context.Context, chosen []part, stdout, stderr io.Writer) (err error) {
	stage, err := newStage(stdout, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	fmt.Fprintf(stdout, "%s, %s/%s, %d CPUs, as uid %d; the load runs on the same CPUs\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), stage.uid)
	for _, p := range chosen {
		if err = errors.Join(err, stage.prove(ctx, p, c)); ctx.Err() != nil {
			break
		}
	}
	return err
}

// runPart is a process that proves a part and prints its report.
func runPart(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, p := range append(parts, chaos) {
		if p.name == c.Part {
			r, begin := new(report), time.Now()
			if err := p.prove(ctx, c, r); err != nil {
				return err
			}
			r.print(os.Stdout, time.Since(begin))
			return r.err()
		}
	}
	return fmt.Errorf("no part %q", c.Part)
}

// nobody is the user that those without privilege are, when this program has it.
const nobody = 65534

// stage is where parts are proved: a directory and a program for a user without privilege.
type stage struct {
	dir            string
	program        string
	uid            int // of who runs it there
	stdout, stderr io.Writer
}

// newStage copies this program to where anybody may run it: that of `go run` is in a directory of its user alone.
func newStage(stdout, stderr io.Writer) (*stage, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "loss")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, program: filepath.Join(dir, "bench"), uid: os.Getuid(), stdout: stdout, stderr: stderr}
	err = os.WriteFile(s.program, content, 0o700)
	if s.uid == 0 {
		s.uid = nobody
		err = errors.Join(err, os.Chmod(s.program, 0o755), os.Chown(dir, nobody, nobody))
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) close() error { return os.RemoveAll(s.dir) }

// prove runs a part in a process of its own, without privilege unless it needs some. What needs some that is not to be had is
// skipped.
func (s *stage) prove(ctx context.Context, p part, c config) error {
	if p.privileged && os.Getuid() != 0 {
		fmt.Fprintf(s.stderr, "skipped: %s needs root: sudo go run ./bench loss -only %s\n\n", p.name, p.name)
		return nil
	}
	c.Part = p.name
	cmd, err := child.Command(ctx, partRole, c)
	if err != nil {
		return err
	}
	cmd.Path, cmd.Dir = s.program, s.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	cmd.Env = append(cmd.Env, "TMPDIR="+s.dir)
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	if os.Getuid() == 0 && !p.privileged {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}
