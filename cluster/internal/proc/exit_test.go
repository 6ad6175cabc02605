package proc

import (
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestExitString(t *testing.T) {
	for want, e := range map[string]Exit{
		"exit code 0":                              {},
		"exit code 7":                              {Code: 7},
		"signal: killed":                           {Signal: syscall.SIGKILL},
		"out of memory, killed by the kernel":      {Signal: syscall.SIGKILL, OutOfMemory: true},
		"signal: segmentation fault (core dumped)": {Signal: syscall.SIGSEGV, Core: true},
		"start: no such file":                      {Err: errors.New("start: no such file")},
	} {
		assert.Equal(t, want, e.String())
	}
}
