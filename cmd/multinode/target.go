package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

const (
	masterSocket = control.Socket
	masterLock   = "master.lock"
)

// target is a cluster that was named or found.
type target struct {
	name, dir string
	byName    bool // it was looked for in the usual places
}

// owner returns what the master has written into its lock; zero if there is none.
func (t target) owner() (owner rendezvous.Owner) {
	content, err := os.ReadFile(filepath.Join(t.dir, masterLock))
	if err != nil || json.Unmarshal(content, &owner) != nil {
		return rendezvous.Owner{}
	}
	return owner
}

// places are the directories below which clusters live that have none of their own.
type places []string

// usualPlaces returns the directory of a cluster that is started here, and the directories of clusters that are started
// elsewhere, as by a service manager.
func usualPlaces() (all places) {
	add := func(base string) {
		if !slices.Contains(all, base) {
			all = append(all, base)
		}
	}
	if path, err := rendezvous.DefaultPath("x"); err == nil {
		add(filepath.Dir(path))
	}
	uid := os.Geteuid()
	if runtime := fmt.Sprintf("/run/user/%d", uid); isDirectory(runtime) {
		add(filepath.Join(runtime, "multinode"))
	}
	for _, temp := range []string{os.TempDir(), "/tmp"} {
		add(filepath.Join(temp, fmt.Sprintf("multinode-%d", uid)))
	}
	return all
}

// find returns the cluster that the flags or the argument name, or else the only running cluster.
func (a *app) find(ctx context.Context, argument string) (*client, error) {
	t, err := a.choose(ctx, argument)
	if err != nil {
		return nil, err
	}
	if err := notOurs(t.dir); err != nil {
		return nil, err
	}
	conn, err := control.NewClient(t.dir).Dial(ctx)
	if err != nil {
		return nil, a.places.notRunning(ctx, t, err)
	}
	_ = conn.Close() // it carried nothing
	return newClient(t, a.places), nil
}

func (a *app) choose(ctx context.Context, argument string) (target, error) {
	name := a.name
	if argument != "" {
		if a.name != "" || a.dir != "" {
			return target{}, failure(codeUsage, fmt.Errorf("%q and a flag both name the cluster: give one of them", argument))
		}
		if name = argument; strings.ContainsRune(argument, filepath.Separator) { // as no name does
			return directory(argument)
		}
	}
	if a.dir != "" {
		return directory(a.dir)
	}
	if name != "" {
		return a.places.named(name)
	}
	return a.places.only(ctx)
}

func directory(path string) (target, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return target{}, err
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return target{}, failure(codeUsage, fmt.Errorf("%s is not a directory: name that of a cluster", path))
	}
	t := target{name: filepath.Base(path), dir: path}
	if owner := t.owner(); owner.Cluster != "" {
		t.name = owner.Cluster
	}
	return t, nil
}

// named returns the cluster of a name, where it runs, else where it would.
func (p places) named(name string) (target, error) {
	standard, err := rendezvous.DefaultPath(name)
	if err != nil {
		return target{}, failure(codeUsage, err)
	}
	for _, base := range p {
		t := target{name, filepath.Join(base, name), true}
		if _, err := os.Lstat(filepath.Join(t.dir, masterSocket)); err == nil {
			return t, nil
		}
	}
	return target{name, standard, true}, nil
}

func (p places) only(ctx context.Context) (target, error) {
	all := p.running(ctx)
	switch len(all) {
	case 0:
		return target{}, failure(codeNotRunning, fmt.Errorf("no cluster of this user runs in %s\n"+
			"start one, or name the directory of one that has its own: --dir DIR", strings.Join(p, " or ")))
	case 1:
		return all[0], nil
	}
	return target{}, failure(codeUsage, fmt.Errorf("%d clusters run: name the one that you mean\n%s", len(all), describe(all)))
}

// describe lists clusters, one in a line.
func describe(all []target) string {
	width := 0
	for _, t := range all {
		width = max(width, len(t.name))
	}
	var lines []string
	for _, t := range all {
		owner := t.owner()
		lines = append(lines, fmt.Sprintf("  %-*s  at %s, master pid %d", width, t.name, owner.Address, owner.PID))
	}
	return strings.Join(lines, "\n")
}

// notRunning explains why a cluster could not be reached.
func (p places) notRunning(ctx context.Context, t target, err error) error {
	if ctx.Err() != nil {
		return failure(codeFailed, ctx.Err())
	}
	if err := notOurs(t.dir); err != nil {
		return err
	}
	if t.byName {
		if other, ok := p.other(t.name); ok {
			return someoneElses(t.name, other)
		}
	}
	if cause, ok := errors.AsType[*net.OpError](err); ok {
		err = cause
	}
	text := fmt.Sprintf("cluster %s is not running: %v", t.name, err)
	if errors.Is(err, os.ErrNotExist) {
		text = fmt.Sprintf("cluster %s is not running: there is no %s", t.name, filepath.Join(t.dir, masterSocket))
	}
	if all := p.running(ctx); len(all) > 0 {
		text += "\nthese run:\n" + describe(all)
	}
	return failure(codeNotRunning, errors.New(text))
}

// running returns the clusters of this user that run there, by name.
func (p places) running(ctx context.Context) (all []target) {
	for _, base := range p {
		info, err := os.Stat(base)
		if err != nil || !isOwn(info) {
			continue
		}
		entries, err := os.ReadDir(base)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			t := target{name: entry.Name(), dir: filepath.Join(base, entry.Name())}
			if conn, err := control.NewClient(t.dir).Dial(ctx); err == nil {
				_ = conn.Close() // it carried nothing
				all = append(all, t)
			}
		}
	}
	slices.SortFunc(all, func(a, b target) int { return strings.Compare(a.name, b.name) })
	return all
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
