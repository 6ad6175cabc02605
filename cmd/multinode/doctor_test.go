package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/multinode-go/multinode/reuseport"
)

// examine runs doctor on a machine.
func examine(t *testing.T, m machine) (code int, stdout, stderr string) {
	t.Helper()
	var c call
	a := &app{stdout: &c.stdout, stderr: &c.stderr, machine: m}
	code = a.run(t.Context(), []string{"doctor"})
	return code, c.stdout.String(), c.stderr.String()
}

func finds(s reuseport.Support, checks ...check) machine {
	m := machine{probe: func() reuseport.Support { return s }, watch: func() error { return nil }}
	for _, c := range checks {
		m.checks = append(m.checks, func(context.Context) check { return c })
	}
	return m
}

func TestDoctor(t *testing.T) {
	code, stdout, stderr := examine(t, finds(reuseport.Support{
		Rung: reuseport.RungBPF, Kernel: "6.18.40",
		Migrate: fmt.Errorf("net.ipv4.tcp_migrate_req is 0: %w", errors.ErrUnsupported),
		Advice:  []reuseport.Advice{{Gives: "a crash loses less", Command: "sysctl -w net.ipv4.tcp_migrate_req=1"}},
	}, check{text: "All is well"}, check{verdict: poor, text: "Few files", why: "take more:", commands: []string{"ulimit", "# or so"}}))
	assert.Equal(t, codeDone, code, stderr)
	for _, want := range []string{
		"Connections when a node leaves: good\n  The kernel (6.18.40) gives",
		"\n     hash\n       A worker that leaves",
		"\n  => cbpf\n       A worker that leaves as planned loses no connection;",
		"\n     cbpf+migrate\n",
		`
  ok  Nodes can tell the kernel which of them gets a connection
  ok  They can change that while connections come in
  ok  A node can be left out by the CPU that a connection comes in on
  -   Connections that wait at a node that crashes go to another one
      no: net.ipv4.tcp_migrate_req is 0
  ok  The kernel can wake an idle node for what waits at a busy one (Options.ShareQueues)

  To get more:
    a crash loses less
        sudo sysctl -w net.ipv4.tcp_migrate_req=1

The rest of the machine
  ok  All is well
  -   Few files
      take more:
        sudo ulimit
        or so

What sysctl -w has set is gone at the next boot: to keep it, write NAME=VALUE into
`,
	} {
		assert.Contains(t, stdout, want)
	}
	for line := range strings.Lines(stdout) {
		assert.LessOrEqual(t, len(line), 125, line)
	}
}

func TestDoctorCodes(t *testing.T) {
	for rung, want := range map[reuseport.Rung]int{
		reuseport.RungHash: codeFailed, reuseport.RungIncomingCPU: codeFailed,
		reuseport.RungBPF: codeDone, reuseport.RungBPFMigrate: codeDone,
	} {
		code, stdout, stderr := examine(t, finds(reuseport.Support{Rung: rung}))
		assert.Equal(t, want, code, rung)
		assert.Contains(t, stdout, "=> "+rung.String()+"\n")
		assert.Empty(t, stderr)
	}
	code, stdout, stderr := examine(t, finds(reuseport.Support{Rung: reuseport.RungBPF}, check{verdict: bad, text: "No directory"}))
	assert.Equal(t, codeFailed, code)
	assert.Contains(t, stdout, "!!  No directory")
	assert.Empty(t, stderr)
}

// The checks say something sensible on the machine of the tests.
func TestChecks(t *testing.T) {
	for _, look := range thisMachine().checks {
		c := look(t.Context())
		assert.NotEqual(t, bad, c.verdict, c.text)
		assert.NotEmpty(t, c.text)
		assert.Equal(t, c.verdict != fine, c.why != "", c.text)
		t.Log(c.text, c.why)
	}
}

func TestDoctorDirectoryOfAnother(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", "/proc")
	c := checkDirectory(t.Context())
	assert.Equal(t, bad, c.verdict)
	assert.Contains(t, c.text, "/proc/multinode-")
}
