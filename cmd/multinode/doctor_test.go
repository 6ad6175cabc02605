package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// examine runs doctor on a machine.
func examine(t *testing.T, m machine) (code int, stdout, stderr string) {
	t.Helper()
	var c call
	a := &app{stdout: &c.stdout, stderr: &c.stderr, machine: m}
	code = a.run(t.Context(), []string{"doctor"})
	return code, c.stdout.String(), c.stderr.String()
}

func finds(s support, checks ...check) machine {
	m := machine{probe: func() (support, error) { return s, nil }}
	for _, c := range checks {
		m.checks = append(m.checks, func(context.Context) check { return c })
	}
	return m
}

func TestDoctor(t *testing.T) {
	code, stdout, stderr := examine(t, finds(support{
		rung: rung{"cbpf", "A reload loses nothing."}, kernel: "6.18.3",
		migrate: errors.New("net.ipv4.tcp_migrate_req is 0"),
		advice:  []advice{{"a crash loses less", "sudo sysctl -w net.ipv4.tcp_migrate_req=1"}},
	}, check{text: "All is well"}, check{verdict: poor, text: "Few files", why: "take more:", command: []string{"ulimit"}}))
	assert.Equal(t, codeDone, code, stderr)
	assert.Equal(t, `Connections at a reload, a stop or a crash: good
  Kernel 6.18.3. A new connection goes to one of the nodes; how well that can be steered comes in steps:

     hash          the kernel spreads connections by itself; at a reload a few that have just come may be reset
     incoming-cpu  a reload or a stop loses no connection, as long as there are as many nodes as CPUs
  => cbpf          A reload loses nothing.
     cbpf+migrate  the same, and of a process that crashes only the connections that it had accepted

  ok  The nodes can tell the kernel which of them gets a connection
  ok  They can change that while connections come in
  ok  A node can be left out by the CPU that a connection comes in on
  -   Connections that wait at a node that dies go to another one
      no: net.ipv4.tcp_migrate_req is 0

  To get more:
    a crash loses less
      sudo sysctl -w net.ipv4.tcp_migrate_req=1

The rest of the machine
  ok  All is well
  -   Few files
      take more:
        ulimit
`, stdout)
}

func TestDoctorCodes(t *testing.T) {
	for name, want := range map[string]int{
		"hash": codeFailed, "incoming-cpu": codeFailed, "cbpf": codeDone, "cbpf+migrate": codeDone, "ebpf": codeDone,
	} {
		code, stdout, stderr := examine(t, finds(support{rung: rung{name: name}}))
		assert.Equal(t, want, code, name)
		assert.Contains(t, stdout, "=> "+name)
		assert.Empty(t, stderr)
	}
	code, stdout, stderr := examine(t, finds(support{rung: rung{name: "cbpf"}}, check{verdict: bad, text: "No directory"}))
	assert.Equal(t, codeFailed, code)
	assert.Contains(t, stdout, "!!  No directory")
	assert.Empty(t, stderr)
	code, _, stderr = examine(t, machine{probe: func() (support, error) { return support{}, errors.New("no kernel") }})
	assert.Equal(t, codeFailed, code)
	assert.Equal(t, "multinode: no kernel\n", stderr)
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
