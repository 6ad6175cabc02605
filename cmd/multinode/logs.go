package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/cluster/control"
)

const (
	logFile     = "log" // in the rendezvous directory, written by multinode run; lines are "slot N | text"
	logInterval = 200 * time.Millisecond
	defaultTail = 100
	everything  = -1
	maxLogLine  = 1 << 20
)

func logsCommand(a *app) *cobra.Command {
	options := logOptions{}
	command := a.takesCluster(&cobra.Command{
		Use:   "logs [NAME]",
		Short: "Show what the nodes of a cluster that multinode run has started have written",
		Long: `Shows what the nodes have written to their standard output and error, as "slot N | text".

Only a cluster that was started by multinode run has such a log; run also writes it to its own terminal. A program that
makes itself a cluster, with the library, writes where its standard error goes: to the terminal, to the journal of
systemd (journalctl -u UNIT), to the log of a container (docker logs).`,
		Args:              takes(0, 1, "web"),
		ValidArgsFunction: a.completeName,
		RunE: does(func(ctx context.Context, args []string) error {
			t, err := a.choose(ctx, first(args)) // a cluster that has ended has a log too
			if err != nil {
				return err
			}
			return a.logs(ctx, t, options)
		}),
	})
	command.Flags().BoolVarP(&options.follow, "follow", "f", false, "go on with what is written from now on, until Ctrl-C")
	command.Flags().IntVar(&options.slot, "slot", noSlot, "only of the nodes in that `slot`")
	command.Flags().IntVarP(&options.lines, "lines", "n", defaultTail, "so many of the last lines; -1 is all")
	return command
}

type logOptions struct {
	follow bool
	slot   int
	lines  int
}

// wants tells whether a line is of the slot that was asked for.
func (o logOptions) wants(line string) bool {
	return o.slot == noSlot || strings.HasPrefix(line, fmt.Sprintf("slot %d |", o.slot))
}

func (a *app) logs(ctx context.Context, t target, o logOptions) error {
	if err := notOurs(t.dir); err != nil {
		return err
	}
	path := filepath.Join(t.dir, logFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a.noLog(ctx, t)
	}
	if err != nil {
		return err
	}
	f := &logReader{path: path, file: file, lines: bufio.NewReader(file)}
	defer f.close()
	last, err := f.tail(o)
	if err != nil {
		return err
	}
	for _, line := range last {
		if _, err := io.WriteString(a.stdout, line); err != nil {
			return err
		}
	}
	if !o.follow {
		return nil
	}
	return f.follow(ctx, a.stdout, o)
}

// noLog says why there is no log.
func (a *app) noLog(ctx context.Context, t target) error {
	conn, err := control.NewClient(t.dir).Dial(ctx)
	if err != nil {
		return a.places.notRunning(ctx, t, err)
	}
	_ = conn.Close() // it carried nothing
	return fmt.Errorf("cluster %s has no log of its own, as it was not started by multinode run: what its nodes write goes "+
		"where the standard error of its master goes (process %d)", t.name, t.owner().PID)
}

// logReader reads a log that grows, and that may be replaced by a new one.
type logReader struct {
	path  string
	file  *os.File
	lines *bufio.Reader
	half  string // of a line that is being written
}

func (f *logReader) close() { _ = f.file.Close() } // it was only read

// line returns the next whole line; "" when there is none yet.
func (f *logReader) line() (string, error) {
	text, err := f.lines.ReadString('\n')
	f.half += text
	if errors.Is(err, io.EOF) && len(f.half) < maxLogLine {
		return "", nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	text, f.half = f.half, ""
	return text, nil
}

// tail reads to the end and returns the last lines.
func (f *logReader) tail(o logOptions) (last []string, err error) {
	for {
		line, err := f.line()
		if err != nil || line == "" {
			return last, err
		}
		if o.wants(line) {
			last = append(last, line)
		}
		if o.lines != everything && len(last) > max(0, o.lines) {
			last = last[1:]
		}
	}
}

// follow writes new lines until ctx ends, as its user wants.
func (f *logReader) follow(ctx context.Context, out io.Writer, o logOptions) error {
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	for {
		line, err := f.line()
		if err != nil {
			return err
		}
		if line == "" {
			if replaced, err := f.reopen(); err != nil {
				return err
			} else if replaced {
				continue
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		if o.wants(line) {
			if _, err := io.WriteString(out, line); err != nil {
				return err
			}
		}
	}
}

// reopen switches to the log that has replaced the one that was read to its end, or that was truncated.
func (f *logReader) reopen() (bool, error) {
	now, err := os.Stat(f.path)
	if err != nil {
		return false, nil //nolint:nilerr // it is being replaced, or the cluster has ended and may begin again
	}
	read, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	if os.SameFile(now, read) {
		return f.rewind(now.Size())
	}
	file, err := os.Open(f.path)
	if err != nil {
		return false, nil //nolint:nilerr // as above
	}
	f.close()
	f.file, f.half = file, ""
	f.lines.Reset(file)
	return true, nil
}

// rewind begins again in a file that was cut.
func (f *logReader) rewind(size int64) (bool, error) {
	at, err := f.file.Seek(0, io.SeekCurrent)
	if err != nil || at <= size {
		return false, err
	}
	f.half = ""
	_, err = f.file.Seek(0, io.SeekStart)
	f.lines.Reset(f.file)
	return true, err
}
