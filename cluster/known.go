package cluster

import (
	"path/filepath"
	"regexp"
	"syscall"
)

// knownProgram describes a program that this package can supervise, by the program's documentation.
type knownProgram struct {
	name string

	// stop asks it to finish its requests and end. 0: SIGTERM, as for a program that is not known.
	stop syscall.Signal

	// share is the setting by which it uses SO_REUSEPORT.
	share string

	// foreground says how it is kept from becoming a daemon.
	foreground string
}

// knownPrograms are the programs that need another signal than SIGTERM, another word than a system call's, or both.
var knownPrograms = []knownProgram{
	// https://nginx.org/en/docs/control.html: "QUIT graceful shutdown", and TERM is a fast one.
	{name: "nginx", stop: syscall.SIGQUIT, share: nginxShare, foreground: nginxForeground},
	{name: "openresty", stop: syscall.SIGQUIT, share: nginxShare, foreground: nginxForeground},
	{name: "angie", stop: syscall.SIGQUIT, share: nginxShare, foreground: nginxForeground},
	// php-fpm(8): "SIGQUIT graceful stop", and SIGTERM is an immediate one.
	{name: "php-fpm", stop: syscall.SIGQUIT, foreground: "use its option --nodaemonize"},
	// https://httpd.apache.org/docs/2.4/stopping.html: "Signal: WINCH, apachectl -k graceful-stop"
	{name: "httpd", stop: sigWinch, share: httpdShare, foreground: httpdForeground},
	{name: "apache2", stop: sigWinch, share: httpdShare, foreground: httpdForeground},
	// HAProxy's management guide, "Stopping and restarting HAProxy": a graceful stop on SIGUSR1, a hard stop on SIGTERM.
	{name: "haproxy", stop: sigUser1, share: "take noreuseport out of its global section", foreground: "use its option -db, or -W"},
	// https://yhbt.net/unicorn/SIGNALS.html: "QUIT - graceful shutdown", and INT and TERM are a quick one.
	{name: "unicorn", stop: syscall.SIGQUIT, share: "give its listen directive reuseport: true"},
	// https://docs.gunicorn.org/en/stable/settings.html#reuse-port; TERM is a graceful stop (signals.html).
	{name: "gunicorn", share: "use its option --reuse-port", foreground: "take out its option --daemon"},
	// https://nodejs.org/api/net.html#serverlistenoptions-callback, "reusePort": added in v23.1.0 and v22.12.0.
	{name: "node", share: "pass reusePort: true to server.listen, which Node.js knows since 23.1 and 22.12, and not before"},
	// https://docs.python.org/3/library/socketserver.html, "allow_reuse_port": new in version 3.11.
	{name: "python", share: "call setsockopt(SOL_SOCKET, SO_REUSEPORT, 1) before bind; a class of socketserver or http.server " +
		"does it where its attribute allow_reuse_port is True (Python 3.11), and python -m http.server cannot"},
	// https://bun.sh/docs/api/http and https://docs.deno.com/runtime/reference/cli/serve
	{name: "bun", share: "pass reusePort: true to Bun.serve"},
	{name: "deno", share: "pass reusePort: true to Deno.serve or Deno.listen"},
}

const (
	nginxShare      = "write reuseport behind the address in its listen directives"
	nginxForeground = "use its option -g 'daemon off;'"
	httpdShare      = "use its directive ListenCoresBucketsRatio"
	httpdForeground = "use its option -DFOREGROUND"
)

// versionSuffix is the suffix by which distributions name a version of a program, as in python3.11 and php-fpm8.2.
var versionSuffix = regexp.MustCompile(`-?[0-9][0-9.]*$`)

// lookUpProgram returns the description of the program that a command runs: by the name of its file, or of the module that Python
// runs.
func lookUpProgram(path string, args []string) knownProgram {
	known := programNamed(filepath.Base(path))
	if known.name == "python" {
		for i, arg := range args[:max(0, len(args)-1)] {
			if arg == "-m" {
				if module := programNamed(args[i+1]); module.name != "" {
					return module
				}
			}
		}
	}
	return known
}

func programNamed(name string) knownProgram {
	if name == "nodejs" { // as Debian has called it
		name = "node"
	}
	for _, known := range knownPrograms {
		if known.name == name || known.name == versionSuffix.ReplaceAllString(name, "") {
			return known
		}
	}
	return knownProgram{}
}
