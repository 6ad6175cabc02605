package pid1

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initVariable is the environment variable that makes process 1 the init, and names the program that it starts.
const initVariable = "MULTINODE_INIT"

// Become makes this process an init that starts program, and does not return, if this is process 1. In any other process it does
// nothing.
//
// What this process has done until now ends here, and the new child does it again. Its descriptors are closed, except those that
// it has inherited.
func Become(program string) error {
	if os.Getpid() != 1 {
		return nil
	}
	err := syscall.Exec(program, os.Args, append(os.Environ(), initVariable+"="+program))
	return fmt.Errorf("process 1 becomes an init: exec %s: %w", program, err)
}

// begin makes process 1 the init, which does not return, and finds the line in a process that an init has started. It runs
// before main, so that an init has nothing of the program, and so that no process started by the program takes the line for
// its own.
func begin() *Line {
	if program := take(initVariable); program != "" && os.Getpid() == 1 {
		os.Exit(new(initProcess).run(program))
	}
	fd, err := strconv.Atoi(take(lineVariable))
	if err != nil {
		return nil
	}
	syscall.CloseOnExec(fd)
	return &Line{os.NewFile(uintptr(fd), "line to the init")}
}

// take returns an environment variable and unsets it.
func take(name string) string {
	value := os.Getenv(name)
	_ = os.Unsetenv(name) // of a valid name: it cannot fail
	return value
}

// initProcess is process 1.
type initProcess struct {
	program string
	rules   *rules
	in, out *os.File // of the pipe: the program writes, and we do
	signals chan os.Signal
}

// run is all that process 1 does. It returns the exit code.
func (p *initProcess) run(program string) int {
	p.program, p.rules = program, newRules()
	children := make(chan os.Signal, 1) // one value stands for all children
	signal.Notify(children, syscall.SIGCHLD)
	p.signals = make(chan os.Signal, 64)
	signal.Notify(p.signals, passedSignals()...)
	if err := p.openLine(); err != nil {
		return p.fail(err)
	}
	if err := p.start(); err != nil {
		return p.fail(err)
	}
	lines := make(chan string)
	go p.read(lines) // they end with the process
	go p.reap(children)
	timer := time.NewTimer(0)
	for !p.over() {
		select {
		case sig := <-p.signals:
			p.pass(sig.(syscall.Signal))
		case line := <-lines:
			p.hear(line)
		case <-timer.C:
		}
		p.restart(timer)
	}
	return p.rules.code
}

func (p *initProcess) fail(err error) int {
	slog.Error("process 1 cannot start the program", "error", err)
	return 1
}

// passedSignals returns the signals that are passed on: all, except those that concern this process alone, and those that the
// process was started to ignore, as the program will.
func passedSignals() (passed []os.Signal) {
	own := []syscall.Signal{syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGKILL, syscall.SIGSTOP}
	const last = 64 // signal(7)
	for sig := syscall.Signal(1); sig <= last; sig++ {
		if !slices.Contains(own, sig) && !signal.Ignored(sig) {
			passed = append(passed, sig)
		}
	}
	return passed
}

// openLine makes the pipe. The program inherits our end for writing by its number: if it had a number of the first ones, it would
// take the place of descriptors that the program gets from outside.
func (p *initProcess) openLine() error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], 0); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	syscall.CloseOnExec(fds[0])
	p.in, p.out = os.NewFile(uintptr(fds[0]), "lines"), os.NewFile(uintptr(fds[1]), "line")
	return nil
}

// start starts the program. Where there is a terminal, the program becomes its foreground, so that an interrupt from there
// reaches it once, and not once more through the init.
func (p *initProcess) start() error {
	attr := &syscall.ProcAttr{Env: p.environ(), Files: []uintptr{0, 1, 2}}
	if _, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil {
		attr.Sys = &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	}
	pid, err := syscall.ForkExec(p.program, os.Args, attr)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.program, err)
	}
	p.rules.started(pid)
	return nil
}

// environ returns our environment for the program, which is not the process that the service manager has started.
func (p *initProcess) environ() []string {
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return v == "WATCHDOG_PID=1" })
	return append(environ, fmt.Sprintf("%s=%d", lineVariable, p.out.Fd()))
}

// restart starts the program when that is due, and sets the timer for it.
func (p *initProcess) restart(timer *time.Timer) {
	now := time.Now()
	if p.rules.next.IsZero() {
		return
	}
	if now.Before(p.rules.next) {
		timer.Reset(p.rules.next.Sub(now))
		return
	}
	if err := p.start(); err != nil {
		slog.Error("process 1 cannot start the program again", "error", err)
		const notStarted = 126 // as a shell says
		p.rules.died(exit{code: notStarted}, now)
		timer.Reset(0)
	}
}

// read is a goroutine that ends with the process.
func (p *initProcess) read(lines chan<- string) {
	for in := bufio.NewScanner(p.in); in.Scan(); {
		lines <- in.Text()
	}
}

// reap is a goroutine that ends with the process. It reports exits through the pipe, so that they arrive after the words of the
// processes themselves.
func (p *initProcess) reap(children <-chan os.Signal) {
	for range children {
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			_, _ = fmt.Fprintln(p.out, wordExited, pid, int(status)) // both ends are ours
		}
	}
}

// hear handles a line of the pipe.
func (p *initProcess) hear(line string) {
	var w word
	var pid, number int
	n, _ := fmt.Sscan(line, &w, &pid, &number)
	switch {
	case n < 2:
	case w == wordExited:
		p.exited(pid, syscall.WaitStatus(number))
	default:
		p.rules.told(w, pid, time.Now())
	}
}

func exitOf(status syscall.WaitStatus) exit {
	if status.Signaled() {
		return exit{code: signaled + int(status.Signal()), signal: status.Signal()}
	}
	return exit{code: status.ExitStatus()}
}

func (p *initProcess) exited(pid int, status syscall.WaitStatus) {
	was, now, e := p.rules.main, time.Now(), exitOf(status)
	p.rules.exited(pid, e, now, isChild)
	switch {
	case pid != was:
	case p.rules.main != 0:
		slog.Warn("the master has died in a takeover, and its successor continues", "pid", pid, "reason", e.String(), "successor", p.rules.main)
	case p.rules.ending:
		if p.rules.failures >= failureLimit {
			slog.Error("the master has crashed and could not be started again", "pid", pid, "reason", e.String(), "starts", p.rules.failures)
		}
		p.end()
	default:
		slog.Warn("the master has crashed and is started again", "pid", pid, "reason", e.String(),
			"restart_in", p.rules.next.Sub(now).Round(time.Millisecond))
	}
}

// end asks the processes to end that no master has stopped.
func (p *initProcess) end() {
	if p.rules.orphan {
		_ = syscall.Kill(-1, syscall.SIGTERM) // all others; there may be none
	}
}

// over reports whether process 1 may end, which kills all others: not before processes have ended that still have requests.
func (p *initProcess) over() bool {
	r := p.rules
	return r.ending && len(r.former) == 0 && (!r.orphan || !hasChildren())
}

// pass passes a signal on to the master.
func (p *initProcess) pass(sig syscall.Signal) {
	stops := sig == syscall.SIGTERM || sig == syscall.SIGINT
	switch {
	case p.rules.main != 0:
		_ = syscall.Kill(p.rules.main, sig) // it may have ended: its exit will arrive
	case p.rules.ending && stops: // the second one
		p.rules.orphan, p.rules.former = false, nil
	case stops:
		p.rules.stop()
		p.end()
	}
}

// isChild reports whether a process is a child of the init, and alive.
func isChild(pid int) bool {
	return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
}

// hasChildren reports whether there are children, alive or not reaped yet.
func hasChildren() bool {
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != unix.ECHILD
}
