//go:build linux

package ways

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// nginxConf has the address, the backlog, and the number of workers. Its files are in the directory of the server.
const nginxConf = `daemon off;
worker_processes %[3]d;
worker_rlimit_nofile 65536;
pid nginx.pid;
lock_file nginx.lock;
error_log log;
events { worker_connections 16384; }
http {
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 1h;
	client_body_temp_path tmp;
	proxy_temp_path tmp;
	fastcgi_temp_path tmp;
	uwsgi_temp_path tmp;
	scgi_temp_path tmp;
	server {
		listen %[1]s reuseport backlog=%[2]d;
		location / {
			default_type text/plain;
			add_header Worker $pid;
			return 200 "hello\n";
		}
	}
}
`

func lookupNginx() error { return lookup("nginx", "apt-get install nginx-light") }

func lookup(program, install string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("ways: %w: %s", err, install)
	}
	return nil
}

func nginxPlan(c Config) (plan, error) {
	version, err := output("nginx", "-v")
	if err != nil {
		return plan{}, err
	}
	return plan{
		command: func(addr, dir string) (*exec.Cmd, error) {
			conf := filepath.Join(dir, "nginx.conf")
			text := fmt.Sprintf(nginxConf, addr, maxBacklog, c.Workers)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				return nil, err
			}
			return foreign("nginx", "-p", dir, "-c", conf, "-e", filepath.Join(dir, "log")), nil
		},
		version: strings.TrimPrefix(version, "nginx version: ") + ", listen reuseport",
		workers: c.Workers, reserves: true, silent: true, end: syscall.SIGQUIT, restart: (*Server).hangUp,
	}, nil
}
