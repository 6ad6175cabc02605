package mutant_test

import (
	"os/exec"
	"testing"

	"github.com/multinode-go/multinode/internal/mutant"
)

func answer() int {
	return 6 * 7 // the rule
}

func TestAnswer(t *testing.T) {
	if answer() != 42 {
		t.Error("the rule is broken")
	}
}

func TestMutantIsCompiled(t *testing.T) {
	edit := mutant.Edit{File: "mutant_test.go", Old: "6 * 7 // the rule", New: "6 * 8 // the rule"}
	if testing.Short() { // the binary of the mutant does not compile itself
		return
	}
	// This file holds the texts twice: in the function and in the edit above.
	edit.Old, edit.New = "return "+edit.Old, "return "+edit.New
	binary := mutant.TestBinary(t, mutant.Overlay(t, edit))
	run := func(name string) error { return exec.Command(binary, "-test.run=^"+name+"$", "-test.short").Run() }
	if run("TestAnswer") == nil {
		t.Error("the mutant survives")
	}
	if err := run("TestMutantIsCompiled"); err != nil {
		t.Error("the binary does not run:", err)
	}
}
