package cluster

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLookUpProgram(t *testing.T) {
	for _, c := range []struct {
		path string
		args []string
		name string
	}{
		{"/usr/sbin/nginx", nil, "nginx"},
		{"/usr/sbin/php-fpm8.2", nil, "php-fpm"},
		{"/usr/bin/nodejs", []string{"server.js"}, "node"},
		{"/usr/bin/node-22", nil, "node"},
		{"/usr/bin/python3.11", []string{"server.py"}, "python"},
		{"/usr/bin/python3", []string{"-m", "gunicorn", "app"}, "gunicorn"},
		{"/usr/bin/python3", []string{"-m", "http.server"}, "python"},
		{"/usr/bin/python3", []string{"-m"}, "python"},
		{"./nginxish", nil, ""},
		{"./8080", nil, ""},
	} {
		assert.Equal(t, c.name, lookUpProgram(c.path, c.args).name, "%s %v", c.path, c.args)
	}
}

// TestKnownProgramsHaveSomethingToSay: one of which there is nothing to say is not known.
func TestKnownProgramsHaveSomethingToSay(t *testing.T) {
	for _, known := range knownPrograms {
		assert.NotEqual(t, knownProgram{name: known.name}, known)
		assert.NotEqual(t, syscall.SIGTERM, known.stop, "%s: it is the default", known.name)
	}
}
