package proctree

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// stat is a process as proc_pid_stat(5) describes it.
type stat struct {
	pid, parent, group, session int
	state                       string
	start                       uint64
	program                     string
}

func (s stat) dead() bool { return s.state == "Z" || s.state == "X" }

func (s stat) process() Process { return Process{PID: s.pid, Program: s.program, start: s.start} }

// Fields of /proc/PID/stat behind the name.
const (
	fieldState   = 0
	fieldParent  = 1
	fieldGroup   = 2
	fieldSession = 3
	fieldStart   = 19
)

func statOf(pid int) (s stat, ok bool) {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return s, false
	}
	text := string(content)
	// The name, in parentheses, may hold anything.
	left, right := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if left < 0 || right < left {
		return s, false
	}
	fields := strings.Fields(text[right+1:])
	if len(fields) <= fieldStart {
		return s, false
	}
	number := func(field int) int {
		n, err := strconv.Atoi(fields[field])
		ok = ok && err == nil
		return n
	}
	ok = true
	s = stat{
		pid: pid, program: printable(text[left+1 : right]), state: fields[fieldState],
		parent: number(fieldParent), group: number(fieldGroup), session: number(fieldSession),
	}
	s.start, err = strconv.ParseUint(fields[fieldStart], 10, 64)
	return s, ok && err == nil
}

// printable returns a name without characters that would disturb a terminal: a process can choose any name.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}

// all returns the processes of this machine, as far as they can be seen.
func all() (found []stat) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // the names that could be read are better than nothing
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process
		}
		if s, ok := statOf(pid); ok {
			found = append(found, s)
		}
	}
	return found
}

func startOf(pid int) uint64 {
	s, _ := statOf(pid) // a process that is gone has started nothing since
	return s.start
}

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func (t *Tree) leftLocked() []Process {
	return closure(all(), t.root, func(s stat) bool {
		return s.group == t.root || t.noted[s.pid] == s.start || s.start >= t.start && t.marks(s.pid)
	})
}

// marks reports whether a process was started with the mark in its environment, which only its own user can read.
func (t *Tree) marks(pid int) bool {
	if t.mark == "" {
		return false
	}
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(environ, []byte(t.mark))
}

// closure returns the live ones of the processes that belong, and of their descendants, without the root and without this
// process.
func closure(processes []stat, root int, belongs func(stat) bool) (found []Process) {
	children := make(map[int][]stat)
	for _, s := range processes {
		children[s.parent] = append(children[s.parent], s)
	}
	seen := map[int]bool{os.Getpid(): true}
	var visit func(stat)
	visit = func(s stat) {
		if seen[s.pid] {
			return
		}
		seen[s.pid] = true
		if s.pid != root && !s.dead() {
			found = append(found, s.process())
		}
		for _, child := range children[s.pid] {
			visit(child)
		}
	}
	for _, s := range processes {
		if s.pid == root || belongs(s) {
			visit(s)
		}
	}
	return found
}

func orphans(isKnown func(int) bool) []Process {
	own, ok := statOf(os.Getpid())
	if !ok {
		return nil
	}
	return closure(all(), 0, func(s stat) bool {
		return s.parent == own.pid && s.session != own.session && !isKnown(s.pid)
	})
}

func adopt() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

func reap(isKnown, isGroup func(int) bool) {
	own, ok := statOf(os.Getpid())
	if !ok {
		return
	}
	for _, pid := range childrenOf("self") {
		s, ok := statOf(pid)
		if ok && s.parent == own.pid && s.dead() && !isKnown(pid) && (isGroup(s.group) || s.session != own.session) {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // another wait may have been faster
		}
	}
}

func descendants(pid int) (all []int) {
	for _, child := range childrenOf(strconv.Itoa(pid)) {
		all = append(append(all, child), descendants(child)...)
	}
	return all
}

// childrenOf returns the children of all threads of a process (/proc/PID/task/TID/children, proc(5)).
func childrenOf(pid string) (children []int) {
	paths, _ := filepath.Glob("/proc/" + pid + "/task/*/children") // fails for a malformed pattern only
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // the thread is gone
		}
		for field := range strings.FieldsSeq(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// signal opens a pidfd first, and sends the signal through it if the process is still the one that was found.
func (p Process) signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return done(os.NewSyscallError("pidfd_open", err))
	}
	defer unix.Close(fd)
	if s, ok := statOf(p.PID); !ok || s.start != p.start {
		return os.ErrProcessDone
	}
	return done(os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(fd, sig, nil, 0)))
}

func done(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
