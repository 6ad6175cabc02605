package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// someone is another user, whose clusters are not ours to see.
type someone struct {
	uid int
	pid int // of the process that seems to be the master; 0: not known
}

// String returns the name of the user, or the uid where there is none.
func (s someone) String() string {
	if u, err := user.LookupId(strconv.Itoa(s.uid)); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", s.uid)
}

// become returns what to type before a command so that it is run as that user.
func (s someone) become() string {
	if u, err := user.LookupId(strconv.Itoa(s.uid)); err == nil {
		return "sudo -u " + u.Username
	}
	return fmt.Sprintf("sudo -u '#%d'", s.uid)
}

// ownerOf returns the other user who owns a directory. If we may not look at it, that is the owner of the first directory
// above it that we may look at. It returns false if the directory is ours, or missing.
func ownerOf(dir string) (someone, bool) {
	for {
		info, err := os.Stat(dir)
		if err == nil {
			uid, known := uidOf(info)
			return someone{uid: uid}, known && uid != os.Geteuid()
		}
		if !errors.Is(err, fs.ErrPermission) || filepath.Dir(dir) == dir {
			return someone{}, false
		}
		dir = filepath.Dir(dir)
	}
}

// notOurs returns an error if a directory belongs to another user.
func notOurs(dir string) error {
	other, ok := ownerOf(dir)
	if !ok {
		return nil
	}
	return failure(codeFailed, fmt.Errorf("%s belongs to user %v, and only that user can see and steer its clusters: "+
		"%s multinode COMMAND --dir %s", dir, other, other.become(), dir))
}

// other returns the other user who has a cluster of that name. Where we may not look, as is usual, it is a user who has
// clusters, and a process with the name in its command line.
func (p places) other(name string) (someone, bool) {
	for _, base := range p.ofOthers() {
		owner, ok := ownerOf(base)
		if !ok {
			continue
		}
		_, err := os.Stat(filepath.Join(base, name))
		if err == nil {
			return owner, true
		}
		if errors.Is(err, fs.ErrPermission) {
			if owner.pid = masterOf(owner.uid, name); owner.pid != 0 {
				return owner, true
			}
		}
	}
	return someone{}, false
}

// ofOthers returns the places where other users have their clusters: usualPlaces of theirs.
func (p places) ofOthers() (bases []string) {
	uid := strconv.Itoa(os.Geteuid())
	users, _ := filepath.Glob("/run/user/*") // fails for a malformed pattern only
	for _, one := range users {
		bases = append(bases, filepath.Join(one, "multinode"))
	}
	for _, base := range p {
		if filepath.Base(base) == "multinode-"+uid {
			found, _ := filepath.Glob(filepath.Join(filepath.Dir(base), "multinode-*")) // as above
			bases = append(bases, found...)
		}
	}
	return bases
}

// portSuffix is the end of the default name of a cluster, after the name of its program.
var portSuffix = regexp.MustCompile(`-[0-9]+$`)

// masterOf returns a process of a user whose command line has the name of a cluster in it: as an argument, or as the name of
// the program. 0: there is none, or this system does not show it.
func masterOf(uid int, name string) (pid int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // as above
	program := portSuffix.ReplaceAllString(name, "")
	for _, path := range lines {
		info, err := os.Stat(filepath.Dir(path))
		if err != nil {
			continue
		}
		if owner, known := uidOf(info); !known || owner != uid {
			continue
		}
		line, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for i, arg := range strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00") {
			_, value, _ := strings.Cut(arg, "=")
			if arg == name || value == name || filepath.Base(arg) == name || i == 0 && filepath.Base(arg) == program {
				pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path))) // it is one
				return pid
			}
		}
	}
	return 0
}

// someoneElses returns the error for a cluster that only another user has.
func someoneElses(name string, other someone) error {
	process := ""
	if other.pid != 0 {
		process = fmt.Sprintf(" (process %d)", other.pid)
	}
	return failure(codeFailed, fmt.Errorf("cluster %s is not this user's: user %v runs one of that name%s, and only that user can see "+
		"and steer it: %s multinode COMMAND %s", name, other, process, other.become(), name))
}
