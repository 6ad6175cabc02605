//go:build linux

package ways

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

//go:embed wsgi.py
var wsgiPy []byte

// gunicornThreads is how many requests one worker works at. Python runs one at a time.
const gunicornThreads = 8

func lookupGunicorn() error { return lookup("gunicorn", "apt-get install gunicorn") }

func gunicornPlan(c Config) (plan, error) {
	version, err := output("gunicorn", "--version")
	if err != nil {
		return plan{}, err
	}
	return plan{
		command: func(addr, dir string) (*exec.Cmd, error) {
			file := filepath.Join(dir, "wsgi.py")
			if err := os.WriteFile(file, wsgiPy, 0o600); err != nil {
				return nil, err
			}
			return foreign("gunicorn", "--config", file, "--chdir", dir, "--bind", addr, "--reuse-port", "--workers",
				strconv.Itoa(c.Workers), "--worker-class", "gthread", "--threads", strconv.Itoa(gunicornThreads),
				"--worker-connections", "16384", "--backlog", strconv.Itoa(maxBacklog), "--keep-alive", "3600",
				"--worker-tmp-dir", dir, "wsgi:app"), nil
		},
		version: fmt.Sprintf("%s, --reuse-port, gthread with %d threads", version, gunicornThreads),
		workers: c.Workers, reserves: true, end: syscall.SIGTERM, restart: (*Server).hangUp,
	}, nil
}
